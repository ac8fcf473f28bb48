//! The kernel's verdict on many raw programs, decodable or not: the oracle for the verifier of
//! `core`. Maps are created once and serve all programs that declare the same.

use iom_core::abi::BackendError;
use iom_core::map::{MapSet, MapSpec};
use iom_core::module::{ProgramType, XdpAttach};

use super::KernelBackend;
use super::load::attach_type;
use super::maps;
use super::syscall::{MapFd, ProgLoad, prog_load_with_log};
use super::verdict::{KernelVerdict, LOG_STATS, prog_type};

/// Sets of maps that are kept; each map is an open file.
const KEPT_MAP_SETS: usize = 64;
/// First slot of a wide load (RFC 9669 section 5.4).
const WIDE_LOAD: u8 = 0x18;

/// Maps in the kernel. A prog array belongs to the type of the first program that used it, so each
/// type has its own.
#[derive(Debug)]
struct KeptMaps {
    program_type: ProgramType,
    specs: Vec<MapSpec>,
    maps: Vec<MapFd>,
}

/// Asks the kernel about programs.
#[derive(Debug)]
pub struct KernelVerifier {
    cpus: u32,
    map_sets: Vec<KeptMaps>,
}

impl KernelVerifier {
    /// An oracle without maps yet.
    ///
    /// # Errors
    /// The kernel cannot be used here.
    pub fn new() -> Result<Self, BackendError> {
        KernelBackend::probe()?;
        Ok(Self {
            cpus: maps::possible_cpus(),
            map_sets: Vec::new(),
        })
    }

    /// Verifies raw instructions, whose wide loads of maps hold indexes into `maps`, under a
    /// licence that is compatible with the GPL. `flags` are those of the load call.
    ///
    /// # Errors
    /// A map cannot be created, or the program is of no Linux type.
    pub fn verify(
        &mut self,
        program_type: ProgramType,
        bytes: &[u8],
        maps: &[MapSpec],
        flags: u32,
    ) -> Result<KernelVerdict, BackendError> {
        let prog_type =
            prog_type(program_type).ok_or_else(|| failed("raw programs are of no Linux type"))?;
        let mut insns = bytes.to_vec();
        let numbers = self.map_numbers(program_type, maps)?;
        put_descriptors(&mut insns, &numbers);
        let is_xdp = program_type == ProgramType::Xdp;
        let load = ProgLoad {
            name: "verdict",
            prog_type,
            attach_type: if is_xdp {
                attach_type(XdpAttach::Device)
            } else {
                0
            },
            flags,
            ifindex: 0,
            insns: &insns,
            license: c"GPL",
            btf: None,
            functions: &[],
            lines: &[],
        };
        let (result, log) = prog_load_with_log(&load, LOG_STATS);
        Ok(KernelVerdict {
            accepted: result.is_ok(),
            error: result.err().map(|error| error.to_string()),
            log,
        })
    }

    fn map_numbers(
        &mut self,
        program_type: ProgramType,
        specs: &[MapSpec],
    ) -> Result<Vec<u32>, BackendError> {
        let known = self
            .map_sets
            .iter()
            .position(|set| set.program_type == program_type && set.specs == specs);
        let index = if let Some(index) = known {
            index
        } else {
            if self.map_sets.len() == KEPT_MAP_SETS {
                self.map_sets.remove(0);
            }
            let created = self.create_maps(specs)?;
            self.map_sets.push(KeptMaps {
                program_type,
                specs: specs.to_vec(),
                maps: created,
            });
            self.map_sets.len() - 1
        };
        let maps = &self.map_sets[index].maps;
        Ok(maps.iter().map(MapFd::number).collect())
    }

    /// Creates maps with what their declarations put in; maps of maps and of programs stay empty.
    fn create_maps(&self, specs: &[MapSpec]) -> Result<Vec<MapFd>, BackendError> {
        let mut plain = specs.to_vec();
        for spec in &mut plain {
            if spec.map_type.holds_maps() {
                spec.initial.clear();
            }
        }
        let set = MapSet::create(&plain, 1).map_err(|error| failed(error.to_string()))?;
        let mut created = Vec::new();
        for map in set.iter() {
            let spec = map.spec();
            let error = |error: &dyn std::fmt::Display| failed(error.to_string());
            let fd = maps::create(spec, None, self.cpus, 0).map_err(|reason| error(&reason))?;
            if !spec.initial.is_empty() || spec.frozen {
                maps::import(&fd, spec, &map.seed()).map_err(|reason| error(&reason))?;
            }
            created.push(fd);
        }
        Ok(created)
    }
}

fn failed(message: impl Into<String>) -> BackendError {
    BackendError::Failed {
        backend: super::NAME,
        message: message.into(),
    }
}

/// Replaces the indexes of maps by descriptors; an index that there is no map for becomes one that
/// no process has. A wide load that names the map by its index for the kernel, too (source fields 5
/// and 6), means the same as the one by descriptor (1 and 2).
fn put_descriptors(insns: &mut [u8], numbers: &[u32]) {
    let (slots, _) = insns.as_chunks_mut::<8>();
    let mut tail = false;
    for slot in slots {
        let wide = !tail && slot[0] == WIDE_LOAD;
        tail = wide;
        let by_descriptor = match slot[1] >> 4 {
            1 | 5 => 1,
            2 | 6 => 2,
            _ => continue,
        };
        if wide {
            let index = u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]);
            let number = numbers.get(index as usize).copied().unwrap_or(u32::MAX);
            slot[1] = slot[1] & 0xf | by_descriptor << 4;
            slot[4..].copy_from_slice(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_verdicts_of_raw_programs() {
        const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
        let Ok(mut kernel) = KernelVerifier::new() else {
            assert!(
                std::env::var_os("IOM_REQUIRE_KERNEL").is_none(),
                "the kernel cannot be used"
            );
            eprintln!("skipped: the kernel cannot be used");
            return;
        };
        let map = MapSpec::new("hash", iom_core::map::MapType::Hash, 4, 8, 4);
        let mut ask = |bytes: &[u8], maps: &[MapSpec]| {
            kernel.verify(ProgramType::Xdp, bytes, maps, 0).unwrap()
        };
        let verdict = ask(&EXIT, &[]);
        assert!(!verdict.accepted);
        assert_eq!(verdict.message().as_deref(), Some("R0 !read_ok"));
        // r1 = map 0; r0 = 0; exit
        let mut program = vec![0x18, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        program.extend([0xb7, 0, 0, 0, 0, 0, 0, 0]);
        program.extend(EXIT);
        let verdict = ask(&program, std::slice::from_ref(&map));
        assert_eq!((verdict.accepted, verdict.processed()), (true, Some(3)));
        assert!(!ask(&program, &[]).accepted);
        program[1] = 0x51;
        assert!(ask(&program, &[map]).accepted);
    }
}
