//! The words that the real driver made, on the micro-engine model, against the interpreter on the
//! eBPF program that they were made from: action, bytes, events and maps. Where they differ the
//! lint names a defect, and the corrected words do not differ.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use expect_test::expect;
use iom_backends::interpreter::Interpreter;
use iom_core::abi::{
    Backend, Environment, Event, Frame, Instance, LoadRequest, Network, QueueId, Recorder, Worker,
    XdpAction,
};
use iom_core::helper;
use iom_core::isa::{CallTarget, Insn};
use iom_core::map::{MapContents, MapEntry, MapSet, MapSpec, MapType, MapValue};
use iom_core::module::Module;
use iom_core::object::vector::{Vector, load_vector};
use iom_nfp_offload::backend::{Nfp, table_ids};
use iom_nfp_offload::check::Reason;
use iom_nfp_offload::offload::{Offload, Request, offload_with};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::recorded;
use iom_nfp_offload::translate::DefectMode;
use serde_json::Value;

const FRAMES: u64 = 20;
const QUEUE: QueueId = QueueId(0);

fn recorded(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/nfp")
        .join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no {}", path.display());
        return Vec::new();
    };
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

/// Bytes that depend on a seed alone.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let random = Environment {
        seed,
        ..Environment::default()
    };
    let mut random = random.random(0);
    (0..len).map(|_| random.next_u32() as u8).collect()
}

/// Lengths and contents that programs branch on: IPv4 with TCP or UDP in half of the frames, and
/// special values in a quarter.
fn frame(number: u64) -> Frame {
    const LENGTHS: [usize; 6] = [60, 64, 100, 128, 250, 400];
    const SPECIAL: [u32; 8] = [0, 1, 31, 32, 33, 255, 1 << 31, u32::MAX];
    let len = LENGTHS[number as usize % LENGTHS.len()];
    let mut bytes = noise(number, len);
    if number.is_multiple_of(2) {
        bytes[12..14].copy_from_slice(&[8, 0]);
        bytes[23] = if number.is_multiple_of(4) { 6 } else { 17 };
    }
    if number % 4 == 1 {
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            let special = SPECIAL[usize::from(word[0]) % SPECIAL.len()];
            if index % 3 > 0 {
                word.copy_from_slice(&special.to_le_bytes());
            }
        }
    }
    let mut frame = Frame::new();
    frame.set_packet(&bytes).unwrap();
    frame.packet_id = number;
    frame
}

/// Fresh maps with some entries.
fn maps(specs: &[MapSpec]) -> MapSet {
    let maps = MapSet::create(specs, 1).unwrap();
    for map in maps
        .iter()
        .filter(|map| map.spec().map_type == MapType::Hash)
    {
        let spec = map.spec();
        for seed in 0..4u8 {
            let mut key = vec![0; spec.key_size as usize];
            key[0] = seed;
            let value = noise(seed.into(), spec.value_size as usize);
            map.insert(&MapEntry {
                key,
                value: MapValue::Plain(value),
            })
            .unwrap();
        }
    }
    maps
}

/// What both sides have in common after a packet.
#[derive(Debug, PartialEq, Eq)]
struct After {
    action: XdpAction,
    packet: Vec<u8>,
    events: Vec<Event>,
    maps: Vec<MapContents>,
}

fn run(instance: &dyn Instance, worker: &mut dyn Worker, number: u64) -> After {
    let mut frame = frame(number);
    let (mut outcomes, mut recorder) = (Vec::new(), Recorder::default());
    worker
        .run(
            std::slice::from_mut(&mut frame),
            &mut outcomes,
            Some(&mut recorder),
        )
        .unwrap();
    assert!(
        outcomes[0].trap.is_none(),
        "{:?} on frame {number}",
        outcomes[0].trap
    );
    After {
        // The card redirects nothing; an unknown action is an abort.
        action: match outcomes[0].action() {
            XdpAction::Redirect => XdpAction::Aborted,
            action => action,
        },
        packet: frame.linear().to_vec(),
        events: recorder.events,
        maps: instance.maps().unwrap(),
    }
}

fn translate(vector: &Vector, mode: DefectMode) -> Result<Offload, Vec<Reason>> {
    let profile = FirmwareProfile::full()
        .with_settings(&vector.firmware_args)
        .unwrap();
    let facts = recorded::facts(vector).unwrap().unwrap();
    let request = Request {
        module: &vector.module,
        entry: 0,
        profile: &profile,
        map_ids: &table_ids(&vector.module.maps),
        mode,
    };
    offload_with(request, &facts)
}

/// For how many frames the words act otherwise than the program.
fn differences(module: &Arc<Module>, words: &Offload) -> u64 {
    let program_maps = maps(&module.maps);
    let request = LoadRequest {
        module,
        entry: 0,
        maps: &program_maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: 1,
    };
    let interpreter = Interpreter::default().load(&request).unwrap();
    let card_maps = maps(&module.maps);
    let card = Nfp::new(FirmwareProfile::full())
        .load_words(
            module.programs[0].program_type,
            &words.words,
            &words.image.first_words,
            &card_maps,
            Environment::default(),
        )
        .unwrap();
    let mut left = interpreter.worker(QUEUE).unwrap();
    let mut right = card.worker(QUEUE).unwrap();
    let differs =
        |number: &u64| run(&*interpreter, &mut *left, *number) != run(&*card, &mut *right, *number);
    (0..FRAMES).filter(differs).count() as u64
}

/// Whether the program calls helpers that refuse on the card what they do in the kernel: room
/// before and behind the packet is another.
fn moves_ends(module: &Module) -> bool {
    let helpers = [
        helper::number::XDP_ADJUST_HEAD,
        helper::number::XDP_ADJUST_TAIL,
    ];
    module.programs[0].insns.iter().any(|insn| {
        helpers.iter().any(|helper| {
            *insn
                == Insn::Call {
                    target: CallTarget::Helper(*helper),
                }
        })
    })
}

/// What the programs of a file did.
#[derive(Default)]
struct Tally {
    programs: u32,
    left_out: Vec<String>,
    /// Programs that the lint names, and those of them that differ, by defect.
    named: BTreeMap<u32, u32>,
    different: BTreeMap<String, u32>,
    not_fixed: Vec<String>,
}

impl Tally {
    fn add(&mut self, name: &str, vector: Vector) {
        let driver = translate(&vector, DefectMode::Kept).unwrap();
        let fixed = translate(&vector, DefectMode::Fixed);
        let mut ids: Vec<u32> = driver.defects.iter().map(|defect| defect.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let module = Arc::new(vector.module);
        self.programs += 1;
        for id in &ids {
            *self.named.entry(*id).or_default() += 1;
        }
        let has_limits = moves_ends(&module);
        if differences(&module, &driver) > 0 {
            assert!(
                !ids.is_empty() || has_limits,
                "{name} differs, and nothing says why"
            );
            let why = if has_limits {
                "room of the packet".to_owned()
            } else {
                format!("defects {ids:?}")
            };
            *self.different.entry(why).or_default() += 1;
        }
        match fixed {
            Ok(fixed) if has_limits || differences(&module, &fixed) == 0 => {}
            Ok(_) => self.not_fixed.push(format!("{name} still differs")),
            Err(reasons) => self
                .not_fixed
                .push(format!("{name}: {}", reasons[0].message)),
        }
    }
}

/// Runs every accepted program of a file, and says how many acted differently and why.
fn report(file: &str) -> Option<String> {
    let mut tally = Tally::default();
    let lines = recorded(file);
    for line in &lines {
        let recorded: Value = serde_json::from_str(line).unwrap();
        if recorded["result"] != "ACCEPT" {
            continue;
        }
        let name = recorded["name"].as_str().unwrap();
        // The interpreter's context is the kernel's, where the queue cannot be written.
        if name == "a_qsel_const" {
            tally.left_out.push(name.to_owned());
            continue;
        }
        tally.add(name, load_vector(line.as_bytes(), "vector").unwrap());
    }
    let mut report = format!(
        "{} programs, left out: {:?}\n",
        tally.programs, tally.left_out
    );
    for (id, programs) in tally.named {
        writeln!(report, "defect {id} named in {programs}").unwrap();
    }
    for (why, programs) in tally.different {
        writeln!(report, "{programs} differ: {why}").unwrap();
    }
    for program in tally.not_fixed {
        writeln!(report, "not fixed: {program}").unwrap();
    }
    (!lines.is_empty()).then_some(report)
}

#[test]
fn words_of_the_vectors() {
    if let Some(report) = report("vectors.jsonl") {
        expect![[r#"
            98 programs, left out: ["a_qsel_const"]
            defect 1 named in 1
            defect 3 named in 11
            defect 5 named in 2
            defect 10 named in 4
            4 differ: defects [3]
            2 differ: room of the packet
        "#]]
        .assert_eq(&report);
    }
}

#[test]
fn words_of_the_random_programs() {
    if let Some(report) = report("fuzz.jsonl.gz") {
        expect![[r"
            390 programs, left out: []
            defect 1 named in 21
            defect 2 named in 11
            defect 4 named in 57
            defect 5 named in 24
            defect 6 named in 16
            5 differ: defects [1, 4]
            2 differ: defects [4, 5]
            1 differ: defects [4, 6]
            36 differ: defects [4]
            3 differ: defects [5]
        "]]
        .assert_eq(&report);
    }
}
