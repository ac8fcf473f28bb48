//! One small program for each defect of the driver's translation: the lint names it, a packet
//! shows it on the model, and the corrected words do what the program says.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use expect_test::expect;
use iom_backends::interpreter::Interpreter;
use iom_core::abi::{Backend, Environment, Frame, Instance, LoadRequest, Network, QueueId};
use iom_core::isa::assemble;
use iom_core::map::MapSet;
use iom_core::module::{Module, ProgramType};
use iom_core::verifier::Range;
use iom_nfp_offload::backend::Nfp;
use iom_nfp_offload::check::check;
use iom_nfp_offload::offload::{Offload, Request, offload_with};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::translate::DefectMode;

/// The body with `r9` as the packet, of which 64 bytes may be accessed.
fn in_packet(body: &str) -> String {
    format!(
        "r2 = *(u32 *)(r1 + 0)
         r3 = *(u32 *)(r1 + 4)
         r9 = r2
         r2 += 64
         if r2 > r3 goto out
         {body}
         out:
         r0 = 2
         exit"
    )
}

/// What makes a number of the verifier's path out of one of all paths.
type Narrow = fn(&mut (Range, Range));

fn translate(module: &Module, narrow: Option<Narrow>, mode: DefectMode) -> Offload {
    let (mut facts, _) = check(module, 0, &FirmwareProfile::full());
    for insn in &mut facts.insns {
        if let (Some(narrow), Some(ranges)) = (narrow, &mut insn.ranges) {
            narrow(ranges);
        }
    }
    let request = Request {
        module,
        entry: 0,
        profile: &FirmwareProfile::full(),
        map_ids: &[1],
        mode,
    };
    offload_with(request, &facts).unwrap()
}

/// The packet as an instance leaves it.
fn run(instance: &dyn Instance, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new();
    frame.set_packet(bytes).unwrap();
    let mut outcomes = Vec::new();
    let mut worker = instance.worker(QueueId(0)).unwrap();
    worker
        .run(std::slice::from_mut(&mut frame), &mut outcomes, None)
        .unwrap();
    assert!(outcomes[0].trap.is_none(), "{:?}", outcomes[0].trap);
    [&[outcomes[0].retval as u8], frame.linear()].concat()
}

fn on_card(words: &Offload, maps: &MapSet, bytes: &[u8]) -> Vec<u8> {
    let card = Nfp::new(FirmwareProfile::full());
    let first_words = &words.image.first_words;
    let instance = card
        .load_words(
            ProgramType::Xdp,
            &words.words,
            first_words,
            maps,
            Environment::default(),
        )
        .unwrap();
    run(&*instance, bytes)
}

/// Lint, whether the driver's words do what the program does on this packet, and that the
/// corrected ones do.
fn describe(body: &str, narrow: Option<Narrow>, packet: &[u8]) -> String {
    describe_program(&in_packet(body), narrow, packet)
}

fn describe_program(text: &str, narrow: Option<Narrow>, packet: &[u8]) -> String {
    let module = Arc::new(assemble(text, "program").unwrap());
    let maps = MapSet::create(&module.maps, 1).unwrap();
    let request = LoadRequest {
        module: &module,
        entry: 0,
        maps: &maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: 1,
    };
    let expected = run(&*Interpreter::default().load(&request).unwrap(), packet);
    let driver = translate(&module, narrow, DefectMode::Kept);
    let fixed = translate(&module, narrow, DefectMode::Fixed);
    assert_eq!(on_card(&fixed, &maps, packet), expected, "fixed: {text}");
    let mut report = String::new();
    for defect in &driver.defects {
        let (id, insn) = (defect.id, defect.insn);
        writeln!(
            report,
            "defect {id}, instruction {insn}: {}",
            defect.message
        )
        .unwrap();
        writeln!(report, "  fix: {}", defect.fix).unwrap();
    }
    let same = on_card(&driver, &maps, packet) == expected;
    writeln!(report, "{}", if same { "same" } else { "differs" }).unwrap();
    report
}

fn counting() -> Vec<u8> {
    (1..=96).collect()
}

#[test]
fn ranges_of_the_paths_that_were_followed() {
    let multiply = describe(
        "r6 = *(u16 *)(r9 + 0)
         r5 = *(u32 *)(r9 + 20)
         r6 *= r5
         *(u64 *)(r9 + 40) = r6",
        Some(|(_, right)| *right = Range::constant(3)),
        &counting(),
    );
    let shift = describe(
        "r6 = *(u64 *)(r9 + 0)
         r5 = *(u8 *)(r9 + 20)
         r6 >>= r5
         *(u64 *)(r9 + 40) = r6",
        Some(|(_, right)| right.max = right.max.min(31)),
        &[vec![45; 24], counting()].concat(),
    );
    let wide = describe(
        "r6 = *(u64 *)(r9 + 0)
         r5 = *(u64 *)(r9 + 20)
         r6 *= r5
         *(u64 *)(r9 + 40) = r6",
        Some(|(left, right)| {
            left.max = left.max.min(0xffff_ffff);
            *right = *left;
        }),
        &counting(),
    );
    expect![[r"
        defect 1, instruction 7: takes the second factor for 3, as it is on the paths that the verifier followed; on others it may be 0 to 4294967295
          fix: mask or test the number right before, so that its range is the same on every path
        differs
        defect 1, instruction 7: takes the amount for 0 to 31, as it is on the paths that the verifier followed; on others it may be 0 to 255
          fix: mask or test the number right before, so that its range is the same on every path
        differs
        defect 1, instruction 7: takes the first factor for 0 to 4294967295, as it is on the paths that the verifier followed; on others it may be 0 to 18446744073709551615
          fix: mask or test the number right before, so that its range is the same on every path
        differs
    "]].assert_eq(&[multiply, shift, wide].concat());
}

#[test]
fn minus_two_to_the_31() {
    let add = describe(
        "r6 = *(u64 *)(r9 + 0)
         r6 += -2147483648
         *(u64 *)(r9 + 40) = r6",
        None,
        &counting(),
    );
    let compare = describe(
        "r6 = *(u64 *)(r9 + 0)
         if r6 s>= -2147483648 goto out
         *(u64 *)(r9 + 40) = r6",
        None,
        &[vec![0xff; 8], counting()].concat(),
    );
    expect![[r"
        defect 2, instruction 6: adds or subtracts -2^31 with the wrong sign
          fix: use the constant from a register
        differs
        defect 2, instruction 6: compares with -2^31 wrongly
          fix: use the constant from a register
        differs
    "]]
    .assert_eq(&[add, compare].concat());
}

#[test]
fn copies() {
    let register = describe(
        "r5 = *(u32 *)(r9 + 0)
         *(u32 *)(r9 + 20) = r5
         r5 = *(u32 *)(r9 + 4)
         *(u32 *)(r9 + 24) = r5
         *(u32 *)(r9 + 40) = r5",
        None,
        &counting(),
    );
    let dead_register = describe(
        "r5 = *(u32 *)(r9 + 0)
         *(u32 *)(r9 + 20) = r5
         r5 = *(u32 *)(r9 + 4)
         *(u32 *)(r9 + 24) = r5",
        None,
        &counting(),
    );
    let descending = describe(
        "r5 = *(u8 *)(r9 + 1)
         *(u8 *)(r9 + 21) = r5
         r5 = *(u8 *)(r9 + 0)
         *(u8 *)(r9 + 20) = r5
         *(u8 *)(r9 + 40) = r5",
        None,
        &counting(),
    );
    let overlap = describe(
        "r5 = *(u32 *)(r9 + 0)
         *(u32 *)(r9 + 6) = r5
         r5 = *(u32 *)(r9 + 4)
         *(u32 *)(r9 + 10) = r5",
        None,
        &counting(),
    );
    expect![[r"
        defect 3, instruction 5: after this copy of 8 bytes r5 does not hold what was copied last
          fix: read the value again where it is used
        differs
        same
        defect 3, instruction 5: after this copy of 2 bytes r5 does not hold what was copied last
          fix: read the value again where it is used
        differs
        defect 4, instruction 5: copies 8 bytes in one piece, although some are read after others overwrote them
          fix: copy through a local variable
        differs
    "]].assert_eq(&[register, dead_register, descending, overlap].concat());
}

#[test]
fn divisors_and_amounts() {
    let one = describe(
        "r5 = *(u32 *)(r9 + 4)
         r6 = *(u32 *)(r9 + 0)
         w5 |= 7
         r6 /= 1
         *(u32 *)(r9 + 40) = r6",
        None,
        &counting(),
    );
    let sign = describe(
        "r6 = *(u64 *)(r9 + 0)
         r5 = *(u32 *)(r9 + 8)
         r6 s>>= r5
         *(u64 *)(r9 + 40) = r6",
        None,
        &[&[0x11; 8][..], &[4, 0, 0, 0x80], &[0; 60]].concat(),
    );
    let beyond = describe(
        "r6 = *(u64 *)(r9 + 0)
         r5 = *(u8 *)(r9 + 8)
         if r5 < 64 goto out
         r6 <<= r5
         *(u64 *)(r9 + 40) = r6",
        None,
        &[&[0x11; 8][..], &[68], &[0; 70]].concat(),
    );
    expect![[r"
        defect 5, instruction 8: divides by 1 and shifts by an amount that is left over from before
          fix: divide in another way: by 1 not at all, else by a factor first
        differs
        defect 6, instruction 7: bit 31 of the amount becomes the sign of the result
          fix: mask the amount with 63 (31 in 32 bits)
        differs
        defect 6, instruction 8: shifts by 64 to 255 as if by 32 to 63
          fix: mask the amount with 63 (31 in 32 bits)
        differs
    "]]
    .assert_eq(&[one, sign, beyond].concat());
}

#[test]
fn short_frames_and_values() {
    let head = describe_program(
        "r2 = 40
         call 44
         r0 = 2
         exit",
        None,
        &counting()[..50],
    );
    // The model gives zeros behind a value, and nothing reads them.
    let value = describe_program(
        ".map flags array key 4 value 6 max 4
         r6 = 0
         *(u32 *)(r10 - 4) = r6
         r2 = r10
         r2 += -4
         r1 = map[flags] ll
         call 1
         r6 = 2
         if r0 == 0 goto out
         r6 = *(u16 *)(r0 + 4)
         r6 += 1
         out:
         r0 = r6
         exit",
        None,
        &counting(),
    );
    expect![[r"
        defect 10, instruction 1: moves the head without a look at the length; frames under 60 bytes may become too short
          fix: test the length before, or call the helper in two places
        differs
        defect 9, instruction 9: reads 2 bytes behind the map value, too
          fix: end the value with a field of 4 bytes; what is read there is not used
        same
    "]].assert_eq(&[head, value].concat());
}

/// A check against the kernel shows what a defect does to a packet.
#[test]
fn kernel_and_card_differ_where_the_lint_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("minimum.bpf");
    std::fs::write(
        &path,
        ".license GPL
         r2 = *(u32 *)(r1 + 0)
         r3 = *(u32 *)(r1 + 4)
         r9 = r2
         r2 += 60
         if r2 > r3 goto out
         r6 = *(u64 *)(r9 + 0)
         r6 += -2147483648
         *(u64 *)(r9 + 40) = r6
         out:
         r0 = 2
         exit",
    )
    .unwrap();
    let check = |backends: &str| {
        let mut command = Command::cargo_bin("iom").unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        command.current_dir(root).arg("check").arg(&path);
        command.args(["-i", "pcaps/attack.pcap", "--backends", backends]);
        command.output().unwrap()
    };
    let with_kernel = check("kernel,nfp");
    let backends = if with_kernel.status.code() == Some(4) {
        assert!(
            std::env::var_os("IOM_REQUIRE_KERNEL").is_none(),
            "no kernel backend here"
        );
        eprintln!("skipped: no kernel backend here; sim instead");
        "sim"
    } else {
        "kernel"
    };
    let defective = check(&format!("{backends},nfp"));
    let text = String::from_utf8_lossy(&defective.stdout).into_owned();
    assert_eq!(defective.status.code(), Some(1), "{text}");
    assert!(text.contains("bytes"), "{text}");
    let fixed = check(&format!("{backends},nfp:fixed"));
    assert_eq!(fixed.status.code(), Some(0));
}
