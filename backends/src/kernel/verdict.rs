//! What the running kernel's verifier says of a program of any type, without running it.

use std::os::fd::AsFd;
use std::sync::Arc;

use iom_core::abi::BackendError;
use iom_core::isa::encode;
use iom_core::map::{Map, MapSet};
use iom_core::module::{Module, Program, ProgramType};
use iom_core::verifier::Options;

use super::load::{attach_type, failed, functions, license, lines, refused, with_descriptors};
use super::log::read_log;
use super::maps;
use super::rewrite::Rewritten;
use super::syscall::{MapFd, ProgLoad, SyscallError, btf_load, prog_load_with_log};
use super::{KernelBackend, XDP_HAS_FRAGS};

/// `BPF_F_STRICT_ALIGNMENT`.
const STRICT_ALIGNMENT: u32 = 1 << 0;
/// `BPF_F_TEST_STATE_FREQ`.
const TEST_STATE_FREQ: u32 = 1 << 3;
/// `BPF_LOG_STATS`: errors and what verifying took.
pub(super) const LOG_STATS: u32 = 4;

/// What the kernel said of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelVerdict {
    /// It was loaded.
    pub accepted: bool,
    /// What the system call returned, if it was not.
    pub error: Option<String>,
    /// The verifier's log; empty if it did not come to run.
    pub log: String,
}

impl KernelVerdict {
    /// The lines that explain a refusal, `None` where there are none.
    pub fn message(&self) -> Option<String> {
        read_log(&self.log).message.filter(|_| !self.accepted)
    }

    /// Instructions looked at, over all paths.
    pub fn processed(&self) -> Option<u64> {
        self.number("processed ")
    }

    /// States remembered.
    pub fn total_states(&self) -> Option<u64> {
        self.number(" total_states ")
    }

    /// States remembered at the same time, at most.
    pub fn peak_states(&self) -> Option<u64> {
        self.number(" peak_states ")
    }

    /// Stack of each function: `16+8`.
    pub fn stack_depth(&self) -> Option<&str> {
        let lines = self.log.lines();
        lines
            .rev()
            .find_map(|line| line.strip_prefix("stack depth "))
    }

    /// Microseconds that the verifier ran.
    pub fn time_us(&self) -> Option<u64> {
        self.number("verification time ")
    }

    fn number(&self, before: &str) -> Option<u64> {
        let start = self.log.rfind(before)? + before.len();
        let digits = self.log[start..]
            .split(|c: char| !c.is_ascii_digit())
            .next();
        digits?.parse().ok()
    }
}

/// How the kernel is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictOptions {
    /// What the verifier is asked for.
    pub verifier: Options,
    /// The kernel's log level: 1 has the path that failed, 2 every instruction of every path with
    /// the states that changed, 0 no more than errors. Figures are always there.
    pub level: u32,
}

impl KernelBackend {
    /// Has the kernel verify a program of a module.
    ///
    /// # Errors
    /// There is no kernel to ask, or it does not take the maps. A refused program is none.
    pub fn verdict(
        module: &Module,
        program: usize,
        options: VerdictOptions,
    ) -> Result<KernelVerdict, BackendError> {
        Self::probe()?;
        let index = program;
        let Some(program) = module.programs.get(index) else {
            return Err(refused(index, format!("the module has no program {index}")));
        };
        let btf = module.btf.as_deref().and_then(|btf| btf_load(btf).ok());
        let btf = btf.as_ref().map(AsFd::as_fd);
        let maps = create_maps(module, btf)?;
        let numbers: Vec<u32> = maps.iter().map(MapFd::number).collect();
        let insns = with_descriptors(&program.insns, &numbers)
            .map_err(|message| refused(index, message))?;
        let plain = Rewritten::plain(&program.insns);
        let functions = functions(program, &plain);
        let lines = lines(program, &plain);
        let load = ProgLoad {
            name: &program.name,
            prog_type: prog_type(program.program_type).ok_or_else(|| {
                refused(index, format!("{} is no program of Linux", program.name))
            })?,
            attach_type: expected_attach_type(program),
            flags: flags(program, options.verifier),
            ifindex: 0,
            insns: &encode(&insns),
            license: &license(module),
            btf: btf.filter(|_| !functions.is_empty()),
            functions: &functions,
            lines: &lines,
        };
        let (result, log) = prog_load_with_log(&load, LOG_STATS | options.level);
        Ok(KernelVerdict {
            accepted: result.is_ok(),
            error: result.err().map(|error| error.to_string()),
            log,
        })
    }
}

/// The maps of a module; only what no one can change later is filled in.
fn create_maps(
    module: &Module,
    btf: Option<std::os::fd::BorrowedFd<'_>>,
) -> Result<Vec<MapFd>, BackendError> {
    let cpus = maps::possible_cpus();
    let filled = MapSet::create(&module.maps, 1).map_err(|error| {
        failed(SyscallError {
            action: format!("fill the maps: {error}"),
            source: std::io::ErrorKind::InvalidInput.into(),
        })
    })?;
    let create = |map: &Arc<Map>| {
        let spec = map.spec();
        let fd = maps::create(spec, btf, cpus, 0).map_err(failed)?;
        if spec.frozen && !spec.map_type.holds_maps() {
            maps::import(&fd, spec, &map.seed()).map_err(failed)?;
        }
        Ok(fd)
    };
    filled.iter().map(create).collect()
}

/// `enum bpf_prog_type`.
pub(super) const fn prog_type(program_type: ProgramType) -> Option<u32> {
    match program_type {
        ProgramType::SocketFilter => Some(1),
        ProgramType::SchedCls => Some(3),
        ProgramType::Xdp => Some(6),
        ProgramType::Raw => None,
    }
}

pub(super) fn expected_attach_type(program: &Program) -> u32 {
    match program.program_type {
        ProgramType::Xdp => attach_type(program.attach),
        ProgramType::SchedCls | ProgramType::SocketFilter | ProgramType::Raw => 0,
    }
}

fn flags(program: &Program, options: Options) -> u32 {
    let mut flags = 0;
    for (wanted, bit) in [
        (program.fragments, XDP_HAS_FRAGS),
        (options.strict_alignment, STRICT_ALIGNMENT),
        (options.frequent_states, TEST_STATE_FREQ),
    ] {
        flags |= if wanted { bit } else { 0 };
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_log() {
        let verdict = KernelVerdict {
            accepted: true,
            error: None,
            log:
                "verification time 123 usec\nstack depth 16+8\nprocessed 97 insns (limit 1000000) \
                  max_states_per_insn 1 total_states 9 peak_states 8 mark_read 0\n"
                    .to_owned(),
        };
        assert_eq!(verdict.processed(), Some(97));
        assert_eq!(
            (verdict.total_states(), verdict.peak_states()),
            (Some(9), Some(8))
        );
        assert_eq!(verdict.stack_depth(), Some("16+8"));
        assert_eq!(verdict.time_us(), Some(123));
        assert_eq!(verdict.message(), None);
    }

    fn verdict(text: &str, level: u32) -> Option<KernelVerdict> {
        if let Err(error) = KernelBackend::probe() {
            let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|set| set == "1");
            assert!(!required, "IOM_REQUIRE_KERNEL is set, but {error}");
            eprintln!("skipped: {error}");
            return None;
        }
        let module = iom_core::isa::assemble(text, "test.bpf").expect("a program");
        let options = VerdictOptions {
            level,
            ..VerdictOptions::default()
        };
        let verdict = KernelBackend::verdict(&module, 0, options);
        Some(verdict.expect("a verdict"))
    }

    #[test]
    fn kernel_takes_and_refuses_with_its_log() {
        let Some(taken) = verdict("r0 = 2\nexit\n", 0) else {
            return;
        };
        assert!(taken.accepted);
        assert_eq!(taken.processed(), Some(2));
        assert!(!taken.log.contains("(b7)"), "{}", taken.log);
        let refused = verdict("r0 = r3\nexit\n", 1).expect("the kernel is there");
        assert_eq!(refused.message().as_deref(), Some("R3 !read_ok"));
        let whole = verdict("r0 = 2\nexit\n", 2).expect("the kernel is there");
        assert!(whole.log.contains("0: (b7) r0 = 2"), "{}", whole.log);
    }

    #[test]
    fn kernel_logs_of_any_length_are_whole() {
        let steps = "r0 += 1\n".repeat(75_000);
        let Some(long) = verdict(&format!("r0 = 0\n{steps}exit\n"), 2) else {
            return;
        };
        assert!(long.accepted, "{:?}", long.error);
        assert!(long.log.starts_with("func#0"), "{}", &long.log[..100]);
        assert_eq!(long.processed(), Some(75_002));
    }
}
