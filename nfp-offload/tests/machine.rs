//! Recorded words on the machine: programs whose results are known.

mod recorded;

use iom_core::abi::{Environment, Frame, QueueId, XdpAction};
use iom_core::isa::Size;
use iom_core::map::MapSet;
use iom_core::module::ProgramType;
use iom_core::object::vector::load_vector;
use iom_nfp_offload::backend::{Nfp, table_ids};
use iom_nfp_offload::cycles::program_cost;
use iom_nfp_offload::machine::{
    Config, CounterWidth, Finding, FindingKind, Firmware, FirmwareFault, Helper, HelperCall,
    MachineFault, Memory, MicroEngine, OutOfBounds, Outcome, Program, map_pointer,
};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::recorded::facts;
use iom_nfp_offload::translate::{DefectMode, Input, translate};
use serde_json::Value;

const VALUE: u64 = 0x23_4000_0000;

/// One map value, and a log of the helper calls.
#[derive(Default)]
struct OneValue {
    value: Option<Vec<u8>>,
    calls: Vec<String>,
}

impl OneValue {
    fn place(&mut self, address: u64, len: usize) -> Result<&mut [u8], OutOfBounds> {
        let offset = address.wrapping_sub(VALUE) as usize;
        self.value
            .as_mut()
            .and_then(|value| value.get_mut(offset..)?.get_mut(..len))
            .ok_or(OutOfBounds { address, len })
    }
}

impl Memory for OneValue {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        for (address, byte) in (address..).zip(bytes) {
            *byte = self.place(address, 1).map_or(0, |byte| byte[0]);
        }
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        self.place(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn add(&mut self, address: u64, addend: u64, width: CounterWidth) -> Result<(), OutOfBounds> {
        let len = match width {
            CounterWidth::Bits32 => 4,
            CounterWidth::Bits64 => 8,
        };
        let place = self.place(address, len)?;
        let mut counter = [0; 8];
        counter[..len].copy_from_slice(place);
        let sum = u64::from_le_bytes(counter).wrapping_add(addend);
        place.copy_from_slice(&sum.to_le_bytes()[..len]);
        Ok(())
    }
}

impl Firmware for OneValue {
    fn call(&mut self, helper: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        let mut key = [0; 16];
        call.key(&mut key);
        let mut data = [0; 8];
        let arguments = match helper {
            Helper::MapLookup | Helper::MapDelete => format!("{} {key:x?}", call.table()),
            Helper::MapUpdate => {
                call.value(&mut data);
                let flags = call.argument(4);
                format!("{} {key:x?} {data:x?} {flags}", call.table())
            }
            Helper::PerfEventOutput => {
                call.local_memory(call.argument(4) as u32, &mut data);
                let (flags, len) = (call.argument(3), call.argument(5));
                format!("{} {flags:#x} {data:x?} {len}", call.data_type())
            }
        };
        self.calls.push(format!("{helper:?} {arguments}"));
        let found = helper == Helper::MapLookup && self.value.is_some();
        Ok(if found { map_pointer(VALUE) } else { 0 })
    }

    fn random(&mut self) -> u32 {
        7
    }
}

/// Accepted XDP programs.
fn accepted(file: &str) -> Vec<Value> {
    let mut programs = recorded::programs(file);
    programs.retain(|program| program["result"] == "ACCEPT" && program["type"] == "xdp");
    programs
}

fn load(program: &Value) -> Program {
    let words = recorded::words(program, "words");
    Program::load(&words, &FirmwareProfile::full()).unwrap()
}

fn run_named(name: &str, frame: &[u8], firmware: &mut OneValue) -> Option<(Outcome, Vec<u8>)> {
    let programs = accepted("vectors.jsonl");
    let program = programs.iter().find(|program| program["name"] == name)?;
    let mut engine = MicroEngine::new(Config::default());
    let outcome = engine.run(&load(program), frame, firmware).unwrap();
    Some((outcome, engine.packet().to_vec()))
}

fn counting_frame() -> Vec<u8> {
    (0..64).collect()
}

#[test]
fn constant_results() {
    for (name, action) in [
        ("c_ret_aborted", XdpAction::Aborted),
        ("c_ret_drop", XdpAction::Drop),
        ("c_ret_tx", XdpAction::Tx),
        ("c_ret_big", XdpAction::Aborted),
    ] {
        let frame = counting_frame();
        let Some((outcome, packet)) = run_named(name, &frame, &mut OneValue::default()) else {
            return;
        };
        assert_eq!(outcome.result.xdp_action(), Some(action), "{name}");
        assert_eq!(packet, frame, "{name}");
    }
}

#[test]
fn mac_addresses_are_exchanged() {
    let mut frame = counting_frame();
    let Some((outcome, packet)) = run_named("c_swapmac", &frame, &mut OneValue::default()) else {
        return;
    };
    frame[..12].rotate_left(6);
    assert_eq!(packet, frame);
    assert_eq!(outcome.result.xdp_action(), Some(XdpAction::Tx));
}

#[test]
fn a_vlan_tag_is_pushed() {
    let frame = counting_frame();
    let Some((outcome, packet)) = run_named("c_vlan_push", &frame, &mut OneValue::default()) else {
        return;
    };
    let expected = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
    assert_eq!(packet, expected);
    assert_eq!(outcome.result.xdp_action(), Some(XdpAction::Tx));
}

#[test]
fn a_counter_counts() {
    let mut firmware = OneValue {
        value: Some(vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ..OneValue::default()
    };
    let Some((outcome, _)) = run_named("c_arr_count", &counting_frame(), &mut firmware) else {
        return;
    };
    assert_eq!(firmware.value.unwrap(), [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(outcome.result.xdp_action(), Some(XdpAction::Pass));
    assert!(firmware.calls[0].starts_with("MapLookup 1 [3, 0, 0, 0,"));

    // Without an entry the program sees NULL and counts nothing, else there would be a fault.
    let mut empty = OneValue::default();
    let (outcome, _) = run_named("c_arr_count", &counting_frame(), &mut empty).unwrap();
    assert_eq!(outcome.result.xdp_action(), Some(XdpAction::Pass));
}

/// Queues that count in one map at the same time lose nothing.
#[test]
fn queues_add_to_the_same_counters() {
    const FRAMES: u64 = 20_000;
    let programs = accepted("vectors.jsonl");
    let Some(program) = programs
        .iter()
        .find(|program| program["name"] == "c_arr_count")
    else {
        return;
    };
    let vector = load_vector(program.to_string().as_bytes(), "vector").unwrap();
    let maps = MapSet::create(&vector.module.maps, 2).unwrap();
    let card = Nfp::new(FirmwareProfile::full());
    let words = recorded::words(program, "words");
    let instance = card
        .load_words(ProgramType::Xdp, &words, &[], &maps, Environment::default())
        .unwrap();
    std::thread::scope(|scope| {
        for queue in 0..2 {
            let mut worker = instance.worker(QueueId(queue)).unwrap();
            scope.spawn(move || {
                let mut frame = Frame::new();
                frame.set_packet(&counting_frame()).unwrap();
                for _ in 0..FRAMES {
                    worker
                        .run(std::slice::from_mut(&mut frame), &mut Vec::new(), None)
                        .unwrap();
                }
            });
        }
    });
    let counter = maps.get(0).unwrap().lookup(QueueId(0), &[3, 0, 0, 0]);
    assert_eq!(counter.unwrap().load(0, Size::DW), Some(2 * FRAMES));
}

#[test]
fn helpers_are_given_keys_values_and_data() {
    let mut firmware = OneValue::default();
    let mut frame = counting_frame();
    frame[12..14].copy_from_slice(&[8, 0]);
    for name in ["c_hash_update", "c_hash_delete", "c_perf"] {
        if run_named(name, &frame, &mut firmware).is_none() {
            return;
        }
    }
    // Addresses, ports and protocol of the packet, in the order of the key.
    let key = "[1a, 1b, 1c, 1d, 1e, 1f, 20, 21, 22, 23, 24, 25, 17, 0, 0, 0]";
    assert_eq!(
        firmware.calls,
        [
            format!("MapUpdate 1 {key} [1, 0, 0, 0, 2, 0, 0, 0] 0"),
            format!("MapDelete 1 {key}"),
            "PerfEventOutput 6 0x40ffffffff [1, 0, 0, 0, 0, 0, 0, 0] 16".into(),
        ]
    );
}

/// No packet costs more than the longest path through the program.
#[test]
fn the_longest_path_costs_the_most() {
    let mut engine = MicroEngine::new(Config::default());
    for file in ["vectors.jsonl", "fuzz.jsonl.gz"] {
        for row in accepted(file) {
            let vector = load_vector(row.to_string().as_bytes(), "vector").unwrap();
            let input = Input {
                program: &vector.module.programs[0],
                facts: &facts(&vector).unwrap().unwrap(),
                profile: &FirmwareProfile::full(),
                map_ids: &table_ids(&vector.module.maps),
                mode: DefectMode::Kept,
            };
            let Ok(image) = translate(input) else {
                continue;
            };
            let cost = program_cost(input.program, &image);
            let loaded = load(&row);
            for len in [60, 200] {
                let mut firmware = OneValue {
                    value: Some(vec![0; 64]),
                    ..OneValue::default()
                };
                let frame: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
                let outcome = engine.run(&loaded, &frame, &mut firmware).unwrap();
                let (spent, most) = (outcome.cost.alone(), cost.longest.alone());
                let name = &row["name"];
                assert!(cost.has_loop || spent <= most, "{name}: {spent} of {most}");
            }
        }
    }
}

/// Every accepted program ends on every frame, and does the same again: nothing of one packet is
/// left for the next. None uses an index register before its value is there.
#[test]
fn recorded_programs_run_to_their_end() {
    let mut engine = MicroEngine::new(Config {
        strict: true,
        ..Config::default()
    });
    for file in ["vectors.jsonl", "fuzz.jsonl.gz"] {
        for program in accepted(file) {
            let loaded = load(&program);
            let mut run = |frame: &[u8]| -> Result<_, MachineFault> {
                let mut firmware = OneValue {
                    value: Some(vec![0; 64]),
                    ..OneValue::default()
                };
                let outcome = engine.run(&loaded, frame, &mut firmware)?;
                Ok((outcome, engine.packet().to_vec(), firmware.value))
            };
            let frames: Vec<Vec<u8>> = (0..6u8)
                .map(|seed| {
                    (0..60 + 40 * u32::from(seed))
                        .map(|byte| (byte * 31) as u8 ^ seed)
                        .collect()
                })
                .collect();
            let first: Vec<_> = frames.iter().map(|frame| run(frame).unwrap()).collect();
            for (frame, first) in frames.iter().zip(&first).rev() {
                assert_eq!(run(frame).as_ref(), Ok(first), "{}", program["name"]);
                assert!(first.0.result.xdp_action().is_some());
            }
        }
    }
    let mut findings = engine.findings().iter();
    let is_early = |finding: &Finding| matches!(finding.kind, FindingKind::IndexTooEarly { .. });
    assert_eq!(findings.find(|finding| is_early(finding)), None);
}
