//! How fast programs are translated, and how many instructions the micro-engine model executes a
//! second on one core.
//!
//! `cargo bench -p iom-nfp-offload --bench speed`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use iom_core::isa::assemble;
use iom_core::module::Module;
use iom_core::verifier::Facts;
use iom_nfp_offload::check::check;
use iom_nfp_offload::machine::{
    Config, CounterWidth, Firmware, FirmwareFault, Helper, HelperCall, Memory, MicroEngine,
    OutOfBounds, Program,
};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::translate::{DefectMode, Input, translate};

/// Rounds of each measurement; the fastest counts, the machine may have other work.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(200);

/// About so many instructions, of the mix that parsers and counters have: packet loads, arithmetic,
/// shifts, branches, stack.
fn program(insns: usize) -> Module {
    let mut text = String::from(
        "r2 = *(u32 *)(r1 + 0)
         r3 = *(u32 *)(r1 + 4)
         r9 = r2
         r2 += 60
         if r2 > r3 goto out
         r6 = *(u32 *)(r9 + 0)
         r7 = *(u64 *)(r9 + 8)
         *(u64 *)(r10 - 8) = r7\n",
    );
    for part in 0..insns / 12 {
        let _ = writeln!(
            text,
            "r5 = *(u16 *)(r9 + {})
             r5 &= 31
             r6 += r5
             r7 <<= 7
             r7 ^= r6
             w6 &= 65535
             r4 = r7
             r4 >>= 32
             if r4 == 12345 goto out
             r8 = *(u64 *)(r10 - 8)
             r8 += r4
             *(u64 *)(r10 - 8) = r8",
            part % 50
        );
    }
    text.push_str("out:\nr0 = 2\nexit");
    assemble(&text, "program").expect("the program is right")
}

fn input<'a>(module: &'a Module, facts: &'a Facts, profile: &'a FirmwareProfile) -> Input<'a> {
    Input {
        program: &module.programs[0],
        facts,
        profile,
        map_ids: &[],
        mode: DefectMode::Kept,
    }
}

/// Time that this thread has run, which other work on the machine does not count in.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let running = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(running))
}

/// The shortest time of one call.
fn fastest(mut call: impl FnMut()) -> Duration {
    let round = |_| {
        let (start, cpu, mut calls) = (Instant::now(), cpu_time(), 0);
        while start.elapsed() < ROUND {
            call();
            calls += 1;
        }
        let elapsed = start.elapsed();
        let running = cpu_time()
            .zip(cpu)
            .map(|(after, before)| after.checked_sub(before).unwrap());
        running.unwrap_or(elapsed) / calls
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

/// Nothing is around the program.
struct Nothing;

impl Memory for Nothing {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let len = bytes.len();
        Err(OutOfBounds { address, len })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let len = bytes.len();
        Err(OutOfBounds { address, len })
    }

    fn add(&mut self, address: u64, _: u64, _: CounterWidth) -> Result<(), OutOfBounds> {
        Err(OutOfBounds { address, len: 8 })
    }
}

impl Firmware for Nothing {
    fn call(&mut self, _: Helper, _: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        Ok(0)
    }

    fn random(&mut self) -> u32 {
        0
    }
}

fn main() {
    let profile = FirmwareProfile::full();
    for insns in [100, 1000] {
        let module = program(insns);
        let (facts, reasons) = check(&module, 0, &profile);
        assert!(reasons.is_empty(), "{reasons:?}");
        let input = input(&module, &facts, &profile);
        let image = translate(input).expect("the checks passed");
        let translating = fastest(|| {
            std::hint::black_box(translate(input).is_ok());
        });
        let insns = module.programs[0].insns.len();
        println!(
            "translate {insns:>5} instructions: {:>8.3} ms, {} words",
            1e3 * translating.as_secs_f64(),
            image.words.len()
        );

        let words = image.relocate(&profile).expect("there are no helpers");
        let loaded = Program::load(&words, &profile).expect("words of the translator");
        let mut engine = MicroEngine::new(Config::default());
        let frame: Vec<u8> = (0..64).map(|byte| byte * 37).collect();
        let mut run = || engine.run(&loaded, &frame, &mut Nothing).expect("no fault");
        let executed = run().cost.instructions;
        let running = fastest(|| {
            std::hint::black_box(run());
        });
        println!(
            "execute   {executed:>5} words a packet: {:>6.1} ns, {:.1} million a second",
            1e9 * running.as_secs_f64(),
            executed as f64 / running.as_secs_f64() / 1e6
        );
    }
}
