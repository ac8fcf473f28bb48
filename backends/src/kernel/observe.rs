//! Which redirect stands when a program ends: the calls it recorded in the environment map, fed
//! through the rule that all backends share.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use iom_core::abi::{Redirect, RedirectKind};
use iom_core::helper::{RedirectMapCall, RedirectState, redirect_kind};
use iom_core::isa::{Imm64, Insn, Operand, Reg, Size, Width, encode};
use iom_core::map::{MapContents, MapFlags, MapSpec, MapType, MapValue};
use iom_core::module::ProgramType;

use super::environment_map::{EnvironmentMap, RECORD_COUNT, RedirectCall};
use super::maps::MapsError;
use super::memory::SharedMemory;
use super::syscall::{
    MapCreate, MapFd, ProgLoad, ProgLoadError, SyscallError, prog_load, run_once,
};

/// A map that programs redirect through.
#[derive(Debug)]
struct Target {
    map: u32,
    kind: RedirectKind,
    /// Interface or CPU by key. Programs cannot change these maps.
    entries: HashMap<u32, u32>,
}

/// The module's redirect maps by their address in the kernel, which is what a program can record.
#[derive(Debug, Default)]
pub(super) struct Targets {
    by_address: HashMap<u64, Target>,
}

impl Targets {
    /// Learns where the redirect maps are and what they hold.
    pub(super) fn learn(
        specs: &[MapSpec],
        fds: &[MapFd],
        contents: impl Fn(usize) -> Result<MapContents, MapsError>,
    ) -> Result<Self, MapsError> {
        let mut maps = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            if let Some(kind) = redirect_kind(spec.map_type) {
                let entries = entries(kind, &contents(index)?);
                let map = index as u32;
                maps.push((fds[index].number(), Target { map, kind, entries }));
            }
        }
        if maps.is_empty() {
            return Ok(Self::default());
        }
        let numbers: Vec<u32> = maps.iter().map(|(number, _)| *number).collect();
        let addresses = addresses(&numbers)?;
        let targets = maps.into_iter().map(|(_, target)| target);
        Ok(Self {
            by_address: addresses.into_iter().zip(targets).collect(),
        })
    }

    /// The redirect that stands after the last packet, which returned `retval`.
    pub(super) fn standing(
        &self,
        environment: &EnvironmentMap,
        program_type: ProgramType,
        retval: u32,
    ) -> Result<Option<Redirect>, String> {
        let mut state = RedirectState::new(program_type);
        for call in environment.redirect_calls() {
            self.replay(&mut state, call)?;
        }
        let redirect = state.finish(retval);
        let lost = environment.redirect_count() > RECORD_COUNT as u64;
        if redirect.is_none() && lost {
            return Err(format!(
                "the program made more than {RECORD_COUNT} redirect calls and none of the last stands"
            ));
        }
        Ok(redirect)
    }

    fn replay(&self, state: &mut RedirectState, call: RedirectCall) -> Result<(), String> {
        let result = if call.map == 0 {
            state.redirect(call.key as u32, call.flags)
        } else {
            let target = self
                .by_address
                .get(&call.map)
                .ok_or("the program redirected through a map that is not the module's")?;
            let key = call.key as u32;
            let map_call = RedirectMapCall {
                kind: target.kind,
                map: target.map,
                key,
                flags: call.flags,
            };
            state.redirect_map(map_call, target.entries.get(&key).copied())
        };
        if u64::from(result) == call.result {
            Ok(())
        } else {
            Err(format!(
                "a redirect returned {}, expected was {result}: {call:?}",
                call.result
            ))
        }
    }
}

/// Interface index or CPU by key.
fn entries(kind: RedirectKind, contents: &MapContents) -> HashMap<u32, u32> {
    let word = |bytes: &[u8]| bytes.first_chunk().map(|word| u32::from_le_bytes(*word));
    let entry = |key: &[u8], value: &MapValue| {
        let key = word(key)?;
        let MapValue::Plain(value) = value else {
            return None;
        };
        let target = if kind == RedirectKind::Devmap {
            word(value)?
        } else {
            key
        };
        Some((key, target))
    };
    contents
        .entries
        .iter()
        .filter_map(|item| entry(&item.key, &item.value))
        .collect()
}

/// Addresses of maps in the kernel: a program stores them into a map that we read.
pub(super) fn addresses(maps: &[u32]) -> Result<Vec<u64>, SyscallError> {
    let bytes = 8 * maps.len();
    let output = MapFd::create(&MapCreate {
        name: "iom_addresses",
        map_type: MapType::Array.number(),
        key_size: 4,
        value_size: bytes as u32,
        max_entries: 1,
        flags: MapFlags::MMAPABLE,
        lookup_bytes: bytes,
        ..MapCreate::default()
    })?;
    let program = prog_load(&ProgLoad {
        name: "iom_addresses",
        prog_type: 6,
        attach_type: 0,
        flags: 0,
        ifindex: 0,
        insns: &encode(&address_program(maps, output.number())),
        license: c"",
        btf: None,
        functions: &[],
        lines: &[],
    });
    let program = program.map_err(|ProgLoadError { source, log }| SyscallError {
        action: format!("load the program that learns map addresses ({log})"),
        source,
    })?;
    read_addresses(&program, &output, maps.len())
}

fn read_addresses(
    program: &OwnedFd,
    output: &MapFd,
    count: usize,
) -> Result<Vec<u64>, SyscallError> {
    run_once(program).map_err(|source| SyscallError {
        action: "run the program that learns map addresses".to_owned(),
        source,
    })?;
    let memory = SharedMemory::map(output.descriptor(), 0, 8 * count, false)?;
    let address = |index| {
        memory
            .u64_at(8 * index)
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    Ok((0..count).map(address).collect())
}

fn address_program(maps: &[u32], output: u32) -> Vec<Insn> {
    let wide = |dst, value| [Insn::LoadImm64 { dst, value }, Insn::WideTail];
    let mut insns = wide(
        Reg::R2,
        Imm64::MapValue {
            map: output,
            offset: 0,
        },
    )
    .to_vec();
    for (index, map) in maps.iter().enumerate() {
        insns.extend(wide(Reg::R1, Imm64::Map(*map)));
        insns.push(Insn::Store {
            size: Size::DW,
            base: Reg::R2,
            off: 0,
            src: Operand::Reg(Reg::R1),
        });
        let next = index + 1 < maps.len();
        insns.extend(next.then_some(Insn::Alu {
            op: iom_core::isa::AluOp::Add,
            width: Width::W64,
            dst: Reg::R2,
            src: Operand::Imm(8),
        }));
    }
    insns.push(Insn::Mov {
        width: Width::W64,
        dst: Reg::R0,
        src: Operand::Imm(0),
    });
    insns.push(Insn::Exit);
    insns
}
