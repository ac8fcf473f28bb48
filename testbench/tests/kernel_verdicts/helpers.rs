//! Every helper with every kind of argument: who may call it, and what it takes.

use iom_backends::kernel::{KernelVerdict, KernelVerifier};
use iom_core::isa::{assemble, encode};
use iom_core::module::{Module, ProgramType};
use iom_core::verifier::{Options, verify};

use crate::{difference, kernel_is_here};

/// Kinds of arguments: the instructions that put one into the register `R`. The first ones are
/// tried everywhere, the other maps only where a map is taken.
const KINDS: [(&str, &str); 20] = [
    ("zero", "R = 0"),
    ("constant", "R = 16"),
    ("number", "R = r9"),
    ("context", "R = r6"),
    ("stack", "R = r10\nR += -64"),
    ("packet", "R = r7"),
    ("value", "R = r8"),
    ("map", "R = map[table] ll"),
    ("array", "R = map[array] ll"),
    ("percpu_array", "R = map[percpu_array] ll"),
    ("lru_hash", "R = map[lru_hash] ll"),
    ("lpm_trie", "R = map[lpm_trie] ll"),
    ("prog_array", "R = map[prog_array] ll"),
    ("perf_event_array", "R = map[perf_event_array] ll"),
    ("ringbuf", "R = map[ringbuf] ll"),
    ("devmap", "R = map[devmap] ll"),
    ("cpumap", "R = map[cpumap] ll"),
    ("xskmap", "R = map[xskmap] ll"),
    ("queue", "R = map[queue] ll"),
    ("bloom_filter", "R = map[bloom_filter] ll"),
];
/// How many kinds are tried everywhere.
const EVERYWHERE: usize = 9;
const MAP: usize = 7;

/// The maps of all types, by their names.
const MAPS: &str = ".map array array key 4 value 64 max 4
    .map percpu_array percpu_array key 4 value 64 max 4
    .map lru_hash lru_hash key 4 value 64 max 4
    .map lpm_trie lpm_trie key 8 value 64 max 4 flags no_prealloc
    .map prog_array prog_array key 4 value 4 max 4
    .map perf_event_array perf_event_array key 4 value 4 max 4
    .map ringbuf ringbuf key 0 value 0 max 4096
    .map devmap devmap key 4 value 4 max 4
    .map cpumap cpumap key 4 value 4 max 4
    .map xskmap xskmap key 4 value 4 max 4
    .map queue queue key 0 value 64 max 4
    .map bloom_filter bloom_filter key 0 value 64 max 4\n";

/// Puts the context into `r6`, a pointer into the packet with 64 bytes behind it, if the type has
/// one, into `r7`, a map's value into `r8`, and an unknown number into `r9`.
fn prologue(kind: &str) -> String {
    let packet = match kind {
        "xdp" => Some((0, 4)),
        "sched_cls" => Some((76, 80)),
        _ => None,
    };
    let packet = packet.map_or_else(
        || "r7 = 0\n".to_owned(),
        |(data, end)| {
            format!(
                "r7 = *(u32 *)(r6 + {data})
                 r1 = *(u32 *)(r6 + {end})
                 r2 = r7
                 r2 += 64
                 if r2 > r1 goto out\n"
            )
        },
    );
    let clear = |word| format!("*(u64 *)(r10 - {}) = 0", 8 * word);
    let clear = (1..=8).map(clear).collect::<Vec<_>>().join("\n") + "\n";
    format!(
        ".map table hash key 4 value 64 max 4
         {MAPS}.license \"GPL\"
         .program sweep {kind}
         r6 = r1
         {clear}{packet}r9 = *(u32 *)(r6 + 16)
         r1 = map[table] ll
         r2 = r10
         r2 += -64
         call map_lookup_elem
         if r0 == 0 goto out
         r8 = r0\n"
    )
}

fn module(kind: &str, helper: u32, arguments: &[usize]) -> Module {
    let set: String = (1..)
        .zip(arguments)
        .map(|(number, kind)| KINDS[*kind].1.replace('R', &format!("r{number}")) + "\n")
        .collect();
    let text = format!(
        "{}{set}call {helper}\nr0 = 0\nout:\nr0 = 0\nexit",
        prologue(kind)
    );
    assemble(&text, "sweep").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the kernel says of helpers that a type of program does not have.
const NOT_HERE: &str = "cannot use helper";

/// Whether the kernel found nothing wrong with this argument.
fn takes(verdict: &KernelVerdict, number: usize) -> bool {
    let message = verdict.message().unwrap_or_default();
    verdict.accepted || !message.contains(&format!("R{number} "))
}

#[test]
fn kernel_and_verifier_agree_on_arguments_in_xdp() {
    sweep("xdp");
}

#[test]
fn kernel_and_verifier_agree_on_arguments_in_classifiers() {
    sweep("sched_cls");
}

#[test]
fn kernel_and_verifier_agree_on_arguments_in_filters() {
    sweep("socket_filter");
}

/// What was compared.
struct Sweep {
    /// Maps of programs belong to the type that used them first, so each sweep has its own.
    kernel: KernelVerifier,
    compared: usize,
    differences: Vec<String>,
}

impl Sweep {
    /// Asks both; gives the kernel's answer, and whether our verifier knows the helper.
    fn compare(&mut self, kind: &str, helper: u32, arguments: &[usize]) -> (KernelVerdict, bool) {
        let module = module(kind, helper, arguments);
        let program = &module.programs[0];
        let bytes = encode(&program.insns);
        let said = self
            .kernel
            .verify(program.program_type, &bytes, &module.maps, 0);
        let said = said.expect("the kernel answers");
        let ours = verify(&module, program, Options::default());
        let messages = ours
            .refusal
            .as_ref()
            .map(|refusal| refusal.messages.concat());
        let known = !messages.is_some_and(|text| text.contains("is not supported"));
        self.compared += 1;
        if let (true, Some(text)) = (known, difference(&ours, &said)) {
            let names: Vec<_> = arguments.iter().map(|kind| KINDS[*kind].0).collect();
            self.differences
                .push(format!("{kind} helper {helper} {names:?}: {text}"));
        }
        (said, known)
    }

    /// Tries every kind in each argument, with one that fits in those before.
    fn vary(&mut self, kind: &str, helper: u32, arguments: &mut [usize]) {
        for position in 0..arguments.len() {
            let mut fits = Vec::new();
            for choice in 0..KINDS.len() {
                if choice >= EVERYWHERE && !fits.contains(&MAP) {
                    break;
                }
                arguments[position] = choice;
                if takes(&self.compare(kind, helper, arguments).0, position + 1) {
                    fits.push(choice);
                }
            }
            // What takes anything is followed by nothing, or by more of it.
            if fits.len() == KINDS.len() && position > 1 {
                break;
            }
            arguments[position] = fits.first().copied().unwrap_or(1);
        }
    }
}

/// Loads that wait in the kernel at the same time.
const THREADS: u32 = 8;

/// Compares all helpers that programs of a type have; those that XDP programs have, too, with one
/// set of arguments elsewhere.
fn sweep(kind: &str) {
    if !kernel_is_here() {
        return;
    }
    let (compared, differences) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| scope.spawn(move || sweep_every(kind, first)))
            .collect();
        threads
            .into_iter()
            .fold((0, Vec::new()), |(compared, mut differences), thread| {
                let sweep = thread.join().expect("a sweep ends");
                differences.extend(sweep.differences);
                (compared + sweep.compared, differences)
            })
    });
    eprintln!("{kind}: {compared} calls");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Compares every so many helpers.
fn sweep_every(kind: &str, first: u32) -> Sweep {
    let mut sweep = Sweep {
        kernel: KernelVerifier::new().expect("a kernel"),
        compared: 0,
        differences: Vec::new(),
    };
    let mut xdp = KernelVerifier::new().expect("a kernel");
    for helper in (1 + first..212).step_by(THREADS as usize) {
        let mut arguments = [1; 5];
        let (said, known) = sweep.compare(kind, helper, &arguments);
        let has = |said: &KernelVerdict| !said.log.contains(NOT_HERE);
        let elsewhere = kind != "xdp" && {
            let module = module("xdp", helper, &arguments);
            let bytes = encode(&module.programs[0].insns);
            let said = xdp.verify(ProgramType::Xdp, &bytes, &module.maps, 0);
            has(&said.expect("the kernel answers"))
        };
        if known && has(&said) && !elsewhere {
            sweep.vary(kind, helper, &mut arguments);
        }
    }
    sweep
}
