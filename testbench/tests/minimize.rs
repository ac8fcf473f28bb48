//! `iom check --minimize`: a planted fault that needs two packets out of several hundred, and the
//! time and random numbers that those had in the whole capture.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::{fs, iter};

use assert_cmd::Command;
use clap::Parser;
use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;
use iom_core::abi::{Backend, BackendError, Capabilities, Instance, LoadRequest};
use iom_core::isa::{Insn, Operand, Reg, Width};
use iom_core::module::Module;
use iom_testbench::compare::Aspect;
use iom_testbench::cross_check::{CrossCheck, Keep, Report, frame_bytes};
use iom_testbench::engine::Engine;
use iom_testbench::engine_args::EngineArgs;
use iom_testbench::kept_packets;
use iom_testbench::lane::{Lane, Setup};
use iom_testbench::mask::Masks;
use iom_testbench::minimal_case::{Difference, Trials};
use iom_testbench::program::{LoadedProgram, ProgramArgs};
use iom_testbench::replay_args::ReplayArgs;
use iom_testbench::save_diff::{self, Case};
use serde_json::{Value, json};

/// Packet `aa…` leaves its random number in the map, and its time. Packet `bb…` is dropped if it
/// comes exactly 200 microseconds later and the random number is that of seed 7 and packet 60.
const PROGRAM: &str = r#"
.license "GPL"
.map state array key 4 value 16 max 1
.program main xdp
    r6 = r1
    r2 = *(u32 *)(r6 + 0)
    r3 = *(u32 *)(r6 + 4)
    r4 = r2
    r4 += 14
    if r4 > r3 goto pass
    r7 = *(u8 *)(r2 + 0)
    if r7 == 0xaa goto known
    if r7 != 0xbb goto pass
known:
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[state] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto pass
    r8 = r0
    call bpf_ktime_get_ns
    r9 = r0
    if r7 == 0xbb goto second
    *(u64 *)(r8 + 0) = r9
    call bpf_get_prandom_u32
    *(u64 *)(r8 + 8) = r0
    goto pass
second:
    r1 = *(u64 *)(r8 + 0)
    if r1 == 0 goto pass
    r9 -= r1
    if r9 != 200000 goto pass
    r1 = *(u64 *)(r8 + 8)
    if r1 != RANDOM goto pass
    r0 = 1
    exit
pass:
    r0 = 2
    exit
"#;

#[derive(Debug, Parser)]
struct Words {
    #[command(flatten)]
    replay: ReplayArgs,
}

/// The interpreter on a program in which one number that is moved into a register is another.
struct Edited {
    register: Reg,
    from: i32,
    to: i32,
}

/// Drops are transmissions.
const TX_FOR_DROP: Edited = Edited {
    register: Reg::R0,
    from: 1,
    to: 3,
};

impl Backend for Edited {
    fn name(&self) -> &'static str {
        "edited"
    }

    fn capabilities(&self) -> Capabilities {
        Interpreter::default().capabilities()
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let moves = |number| Insn::Mov {
            width: Width::W64,
            dst: self.register,
            src: Operand::Imm(number),
        };
        let mut module = Module::clone(request.module);
        let programs = module.programs.iter_mut();
        for insn in programs.flat_map(|program| &mut program.insns) {
            if *insn == moves(self.from) {
                *insn = moves(self.to);
            }
        }
        Interpreter::default().load(&LoadRequest {
            module: &Arc::new(module),
            ..*request
        })
    }
}

fn load(program: &LoadedProgram, edited: &Edited, setup: &Setup) -> anyhow::Result<Vec<Lane>> {
    let backends: [&dyn Backend; 2] = [&Interpreter::default(), edited];
    let target = (&program.module, program.entry);
    let lanes = backends.iter();
    lanes
        .map(|backend| Lane::load(backend.name(), *backend, true, target, setup, &|_| Ok(())))
        .collect()
}

fn check(program: &LoadedProgram, edited: &Edited, replay: &ReplayArgs) -> Report {
    let setup = replay.setup(1, None).unwrap();
    let lanes = load(program, edited, &setup).unwrap();
    let mut ingress = replay.ingress(&setup, frame_bytes(&lanes), 0);
    let check = CrossCheck {
        lanes: &lanes,
        queues: 1,
        keep: Keep::First(10),
        masks: &Masks::default(),
    };
    let mut source = replay.open().unwrap();
    check
        .run(&mut source, &mut ingress, &mut |_, _, _| Ok(()))
        .unwrap()
}

/// 400 frames, one microsecond apart: `aa` at 60 and 300, `bb` at 259, 260 and 261.
fn frames() -> String {
    let mut frames = Vec::new();
    for index in 0..400u32 {
        let first = match index {
            60 | 300 => 0xaa,
            259..=261 => 0xbb,
            _ => 0x02,
        };
        let mut hex = format!("{first:02x}");
        iter::repeat_n(index as u8, 79).for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        frames.push(format!("{{\"hex\":\"{hex}\"}}"));
    }
    format!("[{}]", frames.join(","))
}

fn replay(dir: &Path) -> ReplayArgs {
    let frames_file = dir.join("frames.json");
    fs::write(&frames_file, frames()).unwrap();
    Words::parse_from(["words", "--seed", "7", "-i", frames_file.to_str().unwrap()]).replay
}

fn program(dir: &Path, replay: &ReplayArgs) -> LoadedProgram {
    let environment = replay.setup(1, None).unwrap().environment;
    let random = environment.random(60).next_u32();
    let path = dir.join("fault.bpf");
    // Jumps compare with sign-extended numbers: a register holds it instead.
    let text = PROGRAM.replace(
        "if r1 != RANDOM goto pass",
        &format!("w2 = {}\n    if r1 != r2 goto pass", random as i32),
    );
    fs::write(&path, text).unwrap();
    ProgramArgs::at(path).load().unwrap()
}

#[test]
fn two_packets_of_several_hundred_are_found_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let replay = replay(dir.path());
    let program = program(dir.path(), &replay);
    let report = check(&program, &TX_FOR_DROP, &replay);
    assert_eq!(report.differences, 1);
    let difference = Difference::first_of(&report).unwrap();
    assert_eq!(difference, Difference::Packet(Aspect::Action));

    let trials = Trials {
        replay: &replay,
        setup: &replay.setup(1, None).unwrap(),
        pad_to: 0,
        masks: &Masks::default(),
        load: &|setup| load(&program, &TX_FOR_DROP, setup),
    };
    let case = trials.search(&report, difference, 2000).unwrap().unwrap();
    assert_eq!(case.packets_before, 261);
    let found = &case.minimized;
    let ids: Vec<u64> = found.packets.iter().map(|packet| packet.id).collect();
    assert_eq!(ids, [60, 260]);
    assert!(found.complete);
    let bytes: Vec<&[u8]> = found
        .packets
        .iter()
        .map(|packet| &packet.bytes[..])
        .collect();
    let first = |byte: u8| [vec![byte], vec![0; 13]].concat();
    assert_eq!(bytes, [first(0xaa), first(0xbb)]);
    let again = trials.search(&report, difference, 2000).unwrap().unwrap();
    assert_eq!(again.minimized.packets, found.packets);

    let kept = dir.path().join("kept");
    let case = Case {
        program: &program,
        replay: &replay,
        seed_files: &[],
        engines: &[Engine::SimInterpreter, Engine::Kernel],
        masks: &[],
        engine: &EngineArgs::default(),
    };
    save_diff::save(&kept, &case, &found.packets).unwrap();
    let report = check(
        &program,
        &TX_FOR_DROP,
        &kept_packets::replay_args(&replay, &found.packets, &kept),
    );
    assert_eq!((report.packets, report.differences), (2, 1));
    assert!(difference.shows(&report, &found.packets).is_some());
}

/// Counts packets that begin with `aa` by five.
const COUNTER: &str = r#"
.license "GPL"
.map count array key 4 value 8 max 1
.program main xdp
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 14
    if r4 > r3 goto pass
    r7 = *(u8 *)(r2 + 0)
    if r7 != 0xaa goto pass
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[count] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto pass
    r8 = 5
    lock *(u64 *)(r0 + 0) += r8
pass:
    r0 = 2
    exit
"#;

#[test]
fn one_packet_is_enough_for_a_map() {
    let six = Edited {
        register: Reg::R8,
        from: 5,
        to: 6,
    };
    let dir = tempfile::tempdir().unwrap();
    let replay = replay(dir.path());
    let path = dir.path().join("counter.bpf");
    fs::write(&path, COUNTER).unwrap();
    let program = ProgramArgs::at(path).load().unwrap();
    let report = check(&program, &six, &replay);
    let difference = Difference::first_of(&report).unwrap();
    assert_eq!(difference, Difference::Map(0));
    let trials = Trials {
        replay: &replay,
        setup: &replay.setup(1, None).unwrap(),
        pad_to: 0,
        masks: &Masks::default(),
        load: &|setup| load(&program, &six, setup),
    };
    let case = trials.search(&report, difference, 2000).unwrap().unwrap();
    assert_eq!(case.packets_before, 400);
    let packets = case.minimized.packets;
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].bytes, [vec![0xaa], vec![0; 13]].concat());
}

/// On the plain kernel real time passes, and the second packet is not dropped.
#[test]
fn kernel_the_command_keeps_what_repeats_the_difference() {
    if let Err(missing) = KernelBackend::probe() {
        assert!(std::env::var("IOM_REQUIRE_KERNEL").is_err(), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let replay = replay(dir.path());
    program(dir.path(), &replay);
    let mut command = Command::cargo_bin("iom").unwrap();
    command
        .current_dir(dir.path())
        .args(["check", "fault.bpf", "-i", "frames.json"]);
    command.args([
        "--seed",
        "7",
        "--no-rewrite",
        "--json",
        "--minimize",
        "smallest",
    ]);
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = &report["minimized"];
    assert_eq!(found["packets"], json!([60, 260]), "{found}");
    assert_eq!(
        (&found["bytes"], &found["repeats"]),
        (&json!(28), &json!(true))
    );
    for file in ["command.txt", "maps.json", "fault.bpf", "port-0.pcapng"] {
        assert!(dir.path().join("smallest").join(file).exists(), "{file}");
    }
}
