//! Random programs: the verifier, the interpreter and the kernel agree, and a planted fault of the
//! verifier is caught. `tests/verdicts` holds what such programs once found, with the kernel's
//! verdict in the first line: `; accept` or `; refuse MESSAGE`.

use std::fs;
use std::path::Path;

use iom_core::generate::Candidate;
use iom_core::isa::{assemble, encode};
use iom_core::module::{Module, ProgramType};
use iom_core::verifier::{Options, Verification, verify};
use iom_testbench::soundness::{Campaign, Opinion, Summary, read_originals};
use proptest::prelude::*;

const PROGRAMS: u64 = 200;

fn judge(module: &Module) -> Verification {
    verify(module, &module.programs[0], Options::default())
}

fn modules() -> Vec<Candidate> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    let names = ["acl", "classify", "firewall", "router", "vlan"];
    let files = names.map(|name| programs.join(name).join(format!("{name}.o")));
    let read = files
        .iter()
        .map(|path| read_originals(path).expect("a module"));
    read.flatten().collect()
}

fn campaign(judge: &dyn Fn(&Module) -> Verification, seed: u64) -> Summary {
    let originals = modules();
    let campaign = Campaign {
        seed,
        programs: PROGRAMS,
        originals: &originals,
        packets: 3,
        judge,
        oracle: None,
    };
    campaign.run(&mut |_| Ok(())).expect("no file, no kernel")
}

#[test]
fn accepted_programs_never_trap() {
    let summary = campaign(&judge, 1);
    assert_eq!(summary.trapped, 0, "{:?}", summary.classes);
    assert!(summary.accepted > PROGRAMS / 5, "{summary:?}");
    assert!(summary.runs > 0);
}

/// A verifier that forgets to check memory accepts what traps.
#[test]
fn a_forgotten_check_is_caught() {
    let forgetful = |module: &Module| {
        let mut verification = judge(module);
        let is_access = |message: &String| {
            message.contains("invalid mem access") || message.contains("invalid access to")
        };
        let refusal = &mut verification.refusal;
        let forgotten = refusal.take_if(|refusal| refusal.messages.iter().any(is_access));
        drop(forgotten);
        verification
    };
    let summary = campaign(&forgetful, 1);
    assert!(summary.trapped > 0, "{summary:?}");
    assert!(
        summary
            .classes
            .keys()
            .any(|class| class.starts_with("accepted but traps"))
    );
}

/// What the first line of a case asks for.
fn expected(text: &str) -> (bool, Option<&str>) {
    let line = text.lines().next().expect("a first line");
    let (words, _why) = line.split_once(": ").expect("a verdict and why");
    match words.split_once(' ').expect("a comment").1.split_once(' ') {
        Some(("refuse", message)) => (false, Some(message)),
        _ => (words.ends_with("accept"), None),
    }
}

fn cases() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts");
    let files = fs::read_dir(folder).expect("cases");
    let mut cases: Vec<_> = files
        .map(|file| {
            let path = file.expect("a case").path();
            let text = fs::read_to_string(&path).expect("text");
            (path.display().to_string(), text)
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn what_random_programs_found() {
    for (name, text) in cases() {
        let module = assemble(&text, "case").unwrap_or_else(|error| panic!("{name}: {error}"));
        let (accepted, message) = expected(&text);
        let refusal = judge(&module).refusal;
        assert_eq!(refusal.is_none(), accepted, "{name}: {refusal:?}");
        if let (Some(refusal), Some(message)) = (refusal, message) {
            assert!(
                refusal.messages.iter().any(|line| line == message),
                "{name}: {refusal:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_verified(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        kind in 0..3usize,
    ) {
        let types = [ProgramType::Xdp, ProgramType::SchedCls, ProgramType::SocketFilter];
        let candidate = Candidate {
            program_type: types[kind],
            bytes,
            maps: iom_core::generate::program(0).maps,
        };
        match candidate.module() {
            Ok(module) => {
                let verification = judge(&module);
                let reason = verification.refusal.map(|refusal| refusal.reason);
                prop_assert!(reason != Some(String::new()));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn lengths_that_are_no_instructions() {
    for len in [1, 7, 9, 4_095] {
        let candidate = Candidate {
            program_type: ProgramType::Xdp,
            bytes: vec![0x95; len],
            maps: Vec::new(),
        };
        assert!(candidate.module().is_err(), "{len}");
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::cell::RefCell;

    use iom_backends::kernel::KernelVerifier;

    use super::*;

    fn oracle() -> Option<RefCell<KernelVerifier>> {
        match KernelVerifier::new() {
            Ok(kernel) => Some(RefCell::new(kernel)),
            Err(missing) => {
                assert!(
                    std::env::var_os("IOM_REQUIRE_KERNEL").is_none(),
                    "{missing}"
                );
                eprintln!("skipped: {missing}");
                None
            }
        }
    }

    fn ask(kernel: &RefCell<KernelVerifier>, candidate: &Candidate) -> Opinion {
        let Candidate {
            program_type,
            bytes,
            maps,
        } = candidate;
        let mut kernel = kernel.borrow_mut();
        let verdict = kernel.verify(*program_type, bytes, maps, 0).expect("maps");
        Opinion {
            refusal: (!verdict.accepted).then(|| verdict.log.clone()),
            effort: verdict.processed().zip(verdict.total_states()),
        }
    }

    fn compare(judge: &dyn Fn(&Module) -> Verification) -> Option<Summary> {
        let kernel = oracle()?;
        let campaign = Campaign {
            seed: 5_000,
            programs: PROGRAMS,
            originals: &modules(),
            packets: 1,
            judge,
            oracle: Some(&|candidate| Ok(ask(&kernel, candidate))),
        };
        Some(
            campaign
                .run(&mut |_| Ok(()))
                .expect("a kernel that answers"),
        )
    }

    #[test]
    fn kernel_says_the_same_of_random_programs() {
        let Some(summary) = compare(&judge) else {
            return;
        };
        assert_eq!(summary.asked, PROGRAMS);
        assert!(summary.differ_percent() <= 1.0, "{:?}", summary.classes);
    }

    /// A verifier that is too strict is caught, too.
    #[test]
    fn kernel_contradicts_a_verifier_that_refuses_too_much() {
        let strict = |module: &Module| {
            let program = &module.programs[0];
            let options = Options {
                strict_alignment: true,
                ..Options::default()
            };
            verify(module, program, options)
        };
        let Some(summary) = compare(&strict) else {
            return;
        };
        let mut classes = summary.classes.keys();
        assert!(
            classes.any(|class| class.contains("misaligned")),
            "{summary:?}"
        );
    }

    #[test]
    fn kernel_agrees_with_the_cases() {
        let Some(kernel) = oracle() else { return };
        for (name, text) in cases() {
            let module = assemble(&text, "case").expect("checked by the other test");
            let candidate = Candidate {
                program_type: module.programs[0].program_type,
                bytes: encode(&module.programs[0].insns),
                maps: module.maps.clone(),
            };
            let opinion = ask(&kernel, &candidate);
            let accepted = expected(&text).0;
            assert_eq!(opinion.refusal.is_none(), accepted, "{name}: {opinion:?}");
        }
    }
}
