//! Every kind of fault that a cross-check is there for, planted in one of two backends that are
//! otherwise the same: the check must see it, and say what it is.

use std::path::PathBuf;
use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_core::abi::{
    Backend, BackendError, Capabilities, Environment, Frame, Instance, LoadRequest, Outcome,
    QueueId, Recorder, Worker,
};
use iom_core::isa::{CallTarget, Insn, Operand, Reg, Width};
use iom_core::map::MapContents;
use iom_core::module::{Module, ProgramType};
use iom_nfp_offload::backend::{Nfp, table_ids};
use iom_nfp_offload::offload::{Request, offload};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::translate::DefectMode;
use iom_nfp_offload::ustore;
use iom_sim::capture::{Input, MergedReader, Order, Policy};
use iom_sim::replay::{Ingress, IngressConfig, PacketNumbers};
use iom_sim::rss::{DEFAULT_KEY, Rss};
use iom_testbench::compare::Aspect;
use iom_testbench::cross_check::{self, CrossCheck, Keep, Report};
use iom_testbench::lane::{Lane, Setup};
use iom_testbench::map_files::Seeds;
use iom_testbench::mask::{Mask, Masks};
use iom_testbench::program::{LoadedProgram, ProgramArgs};

const SETUP: Setup = Setup {
    ports: 4,
    queues: 1,
    cpus: 1,
    environment: Environment {
        seed: 0,
        start_ns: 1_000_000_000_000,
    },
    network: None,
};
const PAD_TO: usize = 60;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn module(name: &str) -> LoadedProgram {
    let path = root().join(format!("programs/{name}/{name}.o"));
    ProgramArgs::at(path).load().unwrap()
}

/// Checks a module on the interpreter against another backend, over `pcaps/mix.pcap`.
fn check(name: &str, other: &dyn Backend) -> Report {
    check_masked(name, other, &[])
}

fn check_masked(name: &str, other: &dyn Backend, masks: &[&str]) -> Report {
    let program = module(name);
    let masks: Vec<Mask> = masks.iter().map(|mask| mask.parse().unwrap()).collect();
    let seeds = Seeds::read(&program, &[]).unwrap();
    let load = |backend: &dyn Backend| {
        let target = (&program.module, program.entry);
        Lane::load(backend.name(), backend, true, target, &SETUP, &|maps| {
            seeds.apply(&program.module, maps)
        })
        .unwrap()
    };
    let lanes = [load(&Interpreter::default()), load(other)];
    let input = Input {
        port: 0,
        file: root().join("pcaps/mix.pcap").display().to_string(),
    };
    let mut source = MergedReader::open(&[input], Policy::default(), Order::default()).unwrap();
    let mut ingress = Ingress::new(IngressConfig {
        rss: Rss::new(&DEFAULT_KEY, 1),
        environment: SETUP.environment,
        numbers: PacketNumbers::Counted,
        range: (0, u64::MAX),
        limit: u64::MAX,
        pad_to: PAD_TO,
        frame_bytes: cross_check::frame_bytes(&lanes),
    });
    let check = CrossCheck {
        lanes: &lanes,
        queues: 1,
        keep: Keep::First(1000),
        masks: &Masks::new(&masks, &[&program.module]).unwrap(),
    };
    check
        .run(&mut source, &mut ingress, &mut |_, _, _| Ok(()))
        .unwrap()
}

fn aspects(report: &Report) -> Vec<Aspect> {
    let mut aspects: Vec<Aspect> = report
        .packet_differences
        .iter()
        .flat_map(|difference| difference.aspects.clone())
        .collect();
    aspects.sort_by_key(|aspect| format!("{aspect:?}"));
    aspects.dedup();
    aspects
}

/// The interpreter on a program in which `edit` changed instructions.
struct Edited(fn(&mut Insn));

impl Backend for Edited {
    fn name(&self) -> &'static str {
        "edited"
    }

    fn capabilities(&self) -> Capabilities {
        Interpreter::default().capabilities()
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let mut module = Module::clone(request.module);
        module
            .programs
            .iter_mut()
            .flat_map(|program| &mut program.insns)
            .for_each(self.0);
        Interpreter::default().load(&LoadRequest {
            module: &Arc::new(module),
            ..*request
        })
    }
}

/// The interpreter, with results changed after each packet.
struct Tampered(fn(&mut Frame, &mut Outcome));

struct TamperedInstance(Box<dyn Instance>, fn(&mut Frame, &mut Outcome));

struct TamperedWorker<'a>(Box<dyn Worker + 'a>, fn(&mut Frame, &mut Outcome));

impl Backend for Tampered {
    fn name(&self) -> &'static str {
        "tampered"
    }

    fn capabilities(&self) -> Capabilities {
        Interpreter::default().capabilities()
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        Ok(Box::new(TamperedInstance(
            Interpreter::default().load(request)?,
            self.0,
        )))
    }
}

impl Instance for TamperedInstance {
    fn worker(&self, queue: QueueId) -> Result<Box<dyn Worker + '_>, BackendError> {
        Ok(Box::new(TamperedWorker(self.0.worker(queue)?, self.1)))
    }

    fn maps(&self) -> Result<Vec<MapContents>, BackendError> {
        self.0.maps()
    }
}

impl Worker for TamperedWorker<'_> {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        self.0.run(frames, outcomes, recorder)?;
        frames
            .iter_mut()
            .zip(outcomes)
            .for_each(|(frame, outcome)| (self.1)(frame, outcome));
        Ok(())
    }
}

/// The NFP model with one bit of one word changed, its ECC right.
struct WrongWord;

impl Backend for WrongWord {
    fn name(&self) -> &'static str {
        "nfp"
    }

    fn capabilities(&self) -> Capabilities {
        Nfp::new(FirmwareProfile::full()).capabilities()
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Instance>, BackendError> {
        let nfp = Nfp::new(FirmwareProfile::full());
        let mut offload = offload(Request {
            module: request.module,
            entry: request.entry,
            profile: &nfp.profile,
            map_ids: &table_ids(&request.module.maps),
            mode: DefectMode::Kept,
        })
        .expect("the NFP takes this module");
        // The table of result bytes in the epilogue; the second byte is that of a drop, and the bit
        // its command to drop.
        let table = usize::from(offload.image.target_out) + 2;
        let field = 1 << 21;
        offload.words[table] = ustore::with_ecc(offload.words[table] ^ field);
        nfp.load_words(
            ProgramType::Xdp,
            &offload.words,
            &offload.image.first_words,
            request.maps,
            request.environment,
        )
    }
}

fn becomes_zero(insn: &mut Insn, helper: u32) {
    if *insn
        == (Insn::Call {
            target: CallTarget::Helper(helper),
        })
    {
        *insn = Insn::Mov {
            width: Width::W64,
            dst: Reg::R0,
            src: Operand::Imm(0),
        };
    }
}

#[test]
fn equal_backends_are_equal() {
    for name in ["sampler", "firewall", "router", "classify"] {
        assert_eq!(check(name, &Edited(|_| ())).differences, 0, "{name}");
    }
}

#[test]
fn a_wrong_helper_result_is_caught() {
    let report = check(
        "sampler",
        &Edited(|insn| becomes_zero(insn, iom_core::helper::number::GET_PRANDOM_U32)),
    );
    assert_eq!(aspects(&report), [Aspect::Events]);
}

#[test]
fn a_lost_map_update_is_caught() {
    let report = check(
        "stats",
        &Edited(|insn| becomes_zero(insn, iom_core::helper::number::MAP_UPDATE_ELEM)),
    );
    assert_eq!(aspects(&report), []);
    assert!(!report.entry_differences.is_empty());
    assert_eq!(report.entry_differences.len() as u64, report.differences);
}

fn wrong_checksum(frame: &mut Frame, outcome: &mut Outcome) {
    let checksum = frame.data() + 25;
    if outcome.retval == 4 && frame.linear()[12..14] == [8, 0] {
        frame.memory_mut()[checksum] ^= 1;
    }
}

#[test]
fn a_wrong_checksum_is_caught() {
    let report = check("router", &Tampered(wrong_checksum));
    assert_eq!(aspects(&report), [Aspect::Bytes]);
}

#[test]
fn what_a_mask_hides_is_counted_and_the_rest_stays() {
    let all = check("router", &Tampered(wrong_checksum)).differences;
    let hidden = "bytes:ipv4.header_checksum=planted";
    let report = check_masked("router", &Tampered(wrong_checksum), &[hidden]);
    assert_eq!(report.differences, 0);
    assert_eq!(report.masked.counts()[0].packets, all);
    let other = "bytes:ipv4.identification=not planted";
    let report = check_masked("router", &Tampered(wrong_checksum), &[other]);
    assert_eq!(report.differences, all);
    assert_eq!(report.masked.counts()[0].packets, 0);
    let lost = Edited(|insn| becomes_zero(insn, iom_core::helper::number::MAP_UPDATE_ELEM));
    let all = check("stats", &lost).differences;
    let names = module("stats")
        .module
        .maps
        .iter()
        .map(|map| format!("map:{}=lost", map.name))
        .collect::<Vec<_>>();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = check_masked("stats", &lost, &names);
    assert_eq!(report.differences, 0);
    let entries = report.masked.counts().iter().map(|masked| masked.entries);
    assert_eq!(entries.sum::<u64>(), all);
}

#[test]
fn a_wrong_redirect_target_is_caught() {
    let report = check(
        "router",
        &Tampered(|_, outcome| {
            if let Some(redirect) = &mut outcome.redirect {
                redirect.target = redirect.target.map(|target| target ^ 1);
            }
        }),
    );
    assert_eq!(aspects(&report), [Aspect::Redirect]);
}

#[test]
fn a_lost_event_and_wrong_metadata_are_caught() {
    let report = check(
        "metadata",
        &Tampered(|frame, _| {
            let first = frame.data_meta();
            if !frame.metadata().is_empty() {
                frame.memory_mut()[first] ^= 0x80;
            }
        }),
    );
    assert_eq!(aspects(&report), [Aspect::Metadata]);
}

#[test]
fn a_wrong_nfp_word_is_caught() {
    let report = check("drop", &WrongWord);
    assert_eq!(aspects(&report), [Aspect::Action]);
}
