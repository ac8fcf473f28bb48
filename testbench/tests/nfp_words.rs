//! The words that the real driver made, on the micro-engine model, against the interpreter on the
//! eBPF program that they were made from: action, bytes and maps.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use expect_test::expect;
use iom_backends::interpreter::Interpreter;
use iom_core::abi::{
    Backend, Environment, Frame, LoadRequest, Network, PacketRandom, QueueId, XdpAction,
};
use iom_core::map::{Errno, MapContents, MapEntry, MapSet, MapSpec, MapType, MapValue};
use iom_core::memory::SharedBytes;
use iom_core::object::vector::load_vector;
use iom_nfp_offload::machine::{
    Config, CounterWidth, Firmware, FirmwareFault, Helper, HelperCall, Memory, MicroEngine,
    OutOfBounds, Program, map_pointer,
};
use iom_nfp_offload::profile::FirmwareProfile;
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

/// The firmware's routines on core's maps. Values that lookups have found get an address each.
struct Card<'a> {
    maps: &'a MapSet,
    ids: Vec<u32>,
    values: Vec<SharedBytes<'a>>,
    random: PacketRandom,
}

const VALUE_SPACE: u64 = 1 << 16;
const FIRST_VALUE: u64 = 0x12_0000_0000;

impl Card<'_> {
    fn place(&self, address: u64, len: usize) -> Result<(SharedBytes<'_>, usize), OutOfBounds> {
        let relative = address.wrapping_sub(FIRST_VALUE);
        self.values
            .get((relative / VALUE_SPACE) as usize)
            .map(|&value| (value, (relative % VALUE_SPACE) as usize))
            .filter(|&(value, offset)| offset < value.len())
            .ok_or(OutOfBounds { address, len })
    }

    fn result(result: Result<(), Errno>) -> u64 {
        result.map_or_else(Errno::to_register, |()| 0)
    }
}

impl Memory for Card<'_> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let (value, offset) = self.place(address, bytes.len())?;
        let inside = bytes.len().min(value.len() - offset);
        let outside = OutOfBounds {
            address,
            len: bytes.len(),
        };
        if bytes.len() > inside + 3 {
            return Err(outside);
        }
        value.read(offset, &mut bytes[..inside]).ok_or(outside)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let len = bytes.len();
        Err(OutOfBounds { address, len })
    }

    fn add(&mut self, address: u64, addend: u64, width: CounterWidth) -> Result<(), OutOfBounds> {
        let (value, offset) = self.place(address, 4)?;
        let added = match width {
            CounterWidth::Bits32 => value
                .atomic_u32(offset)
                .map(|counter| u64::from(counter.fetch_add(addend as u32, Relaxed))),
            CounterWidth::Bits64 => value
                .atomic_u64(offset)
                .map(|counter| counter.fetch_add(addend, Relaxed)),
        };
        added.map(drop).ok_or(OutOfBounds { address, len: 8 })
    }
}

impl Firmware for Card<'_> {
    fn call(&mut self, helper: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        // Events are not compared; their map is in R2.
        if helper == Helper::PerfEventOutput {
            return Ok(0);
        }
        let table = call.table();
        let map = (0..)
            .zip(&self.ids)
            .find(|&(_, &id)| id == table)
            .and_then(|(index, _)| self.maps.get(index))
            .ok_or(FirmwareFault::UnknownTable { table })?;
        let mut key = vec![0; map.spec().key_size as usize];
        call.key(&mut key);
        Ok(match helper {
            Helper::MapLookup => map.lookup(QUEUE, &key).map_or(0, |value| {
                self.values.push(value);
                map_pointer(FIRST_VALUE + (self.values.len() as u64 - 1) * VALUE_SPACE)
            }),
            Helper::MapUpdate => {
                let mut value = vec![0; map.spec().value_size as usize];
                call.value(&mut value);
                Self::result(map.update(QUEUE, &key, &value, call.argument(4)))
            }
            Helper::MapDelete => Self::result(map.delete(&key)),
            Helper::PerfEventOutput => unreachable!("handled above"),
        })
    }

    fn random(&mut self) -> u32 {
        self.random.next_u32()
    }
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
fn frame(number: u64) -> Vec<u8> {
    const LENGTHS: [usize; 6] = [60, 64, 100, 128, 250, 400];
    const SPECIAL: [u32; 8] = [0, 1, 31, 32, 33, 255, 1 << 31, u32::MAX];
    let len = LENGTHS[number as usize % LENGTHS.len()];
    let mut frame = noise(number, len);
    if number.is_multiple_of(2) {
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[23] = if number.is_multiple_of(4) { 6 } else { 17 };
    }
    if number % 4 == 1 {
        for (index, word) in frame.chunks_exact_mut(4).enumerate() {
            let special = SPECIAL[usize::from(word[0]) % SPECIAL.len()];
            if index % 3 > 0 {
                word.copy_from_slice(&special.to_le_bytes());
            }
        }
    }
    frame
}

/// Fresh maps with some entries; nothing if there is a map that the interpreter does not have.
fn maps(specs: &[MapSpec]) -> Option<MapSet> {
    let maps = MapSet::create(specs, 1).ok()?;
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
    Some(maps)
}

/// What both sides have in common after a packet.
#[derive(Debug, PartialEq, Eq)]
struct After {
    action: XdpAction,
    packet: Vec<u8>,
    maps: Vec<MapContents>,
}

/// For how many frames a program acted differently on the two sides; nothing if the program does
/// what only the card allows.
fn differences(line: &str) -> Option<u64> {
    let vector = load_vector(line.as_bytes(), "vector").unwrap();
    let recorded: Value = serde_json::from_str(line).unwrap();
    let words: Vec<u64> = recorded["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| u64::from_str_radix(word.as_str().unwrap(), 16).unwrap())
        .collect();
    let program = Program::load(&words, &FirmwareProfile::full()).unwrap();
    let ids = vector.map_ids.iter().map(|id| id.unwrap()).collect();
    let module = Arc::new(vector.module);
    let card_maps = maps(&module.maps)?;
    let request = LoadRequest {
        module: &module,
        entry: 0,
        maps: &maps(&module.maps)?,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: 1,
    };
    let instance = Interpreter::default().load(&request).ok()?;
    let mut worker = instance.worker(QUEUE).unwrap();
    let mut card = Card {
        maps: &card_maps,
        ids,
        values: Vec::new(),
        random: Environment::default().random(0),
    };
    let mut engine = MicroEngine::new(Config::default());
    let mut differences = 0;
    for number in 0..FRAMES {
        let bytes = frame(number);
        let mut frame = Frame::new();
        frame.set_packet(&bytes).unwrap();
        frame.packet_id = number;
        let mut outcomes = Vec::new();
        worker
            .run(std::slice::from_mut(&mut frame), &mut outcomes, None)
            .unwrap();
        if outcomes[0].trap.is_some() {
            return None;
        }
        let expected = After {
            // The card redirects nothing; an unknown action is an abort.
            action: match outcomes[0].action() {
                XdpAction::Redirect => XdpAction::Aborted,
                action => action,
            },
            packet: frame.linear().to_vec(),
            maps: instance.maps().unwrap(),
        };
        card.values.clear();
        card.random = Environment::default().random(number);
        let outcome = engine.run(&program, &bytes, &mut card).unwrap();
        let found = After {
            action: outcome.result.xdp_action().unwrap(),
            packet: engine.packet().to_vec(),
            maps: card_maps.iter().map(|map| map.contents()).collect(),
        };
        differences += u64::from(found != expected);
    }
    Some(differences)
}

/// What of the driver's output is known to act otherwise than the program.
fn defect(recorded: &Value) -> Option<&'static str> {
    let insns = recorded["translation"].as_array().unwrap();
    if insns.iter().any(|insn| insn.get("gather").is_some()) {
        return Some("gathered copies");
    }
    let program = recorded["program"].as_str().unwrap();
    let raw = iom_core::hex::decode(program).unwrap();
    let mut opcodes = raw
        .chunks_exact(8)
        .map(|insn| (insn[0], insn[1] >> 4, &insn[4..]));
    opcodes.find_map(|(opcode, src, imm)| match (opcode, src, imm[0]) {
        (0x34 | 0x37, _, 1) => Some("division by 1"),
        (0x85, 0, 44 | 65) => Some("limits of adjust_head and adjust_tail"),
        _ => None,
    })
}

/// Runs every accepted program of a file, and says how many programs acted differently and why.
fn report(file: &str) -> Option<String> {
    let (mut programs, mut left_out) = (0, Vec::new());
    let mut defects: BTreeMap<&str, u32> = BTreeMap::new();
    let lines = recorded(file);
    for line in &lines {
        let recorded: Value = serde_json::from_str(line).unwrap();
        if recorded["result"] != "ACCEPT" || recorded["type"] != "xdp" {
            continue;
        }
        let name = recorded["name"].as_str().unwrap().to_owned();
        let Some(differences) = differences(line) else {
            left_out.push(name);
            continue;
        };
        programs += 1;
        if differences > 0 {
            let defect = defect(&recorded).unwrap_or_else(|| panic!("{name} differs"));
            *defects.entry(defect).or_default() += 1;
        }
    }
    let mut report = format!("{programs} programs, left out: {left_out:?}\n");
    for (defect, programs) in defects {
        writeln!(report, "{programs} differ: {defect}").unwrap();
    }
    (!lines.is_empty()).then_some(report)
}

#[test]
fn words_of_the_vectors() {
    if let Some(report) = report("vectors.jsonl") {
        expect![[r#"
            95 programs, left out: ["a_qsel_const"]
            4 differ: gathered copies
            2 differ: limits of adjust_head and adjust_tail
        "#]]
        .assert_eq(&report);
    }
}

#[test]
fn words_of_the_random_programs() {
    if let Some(report) = report("fuzz.jsonl.gz") {
        expect![[r"
            390 programs, left out: []
            2 differ: division by 1
            45 differ: gathered copies
        "]]
        .assert_eq(&report);
    }
}
