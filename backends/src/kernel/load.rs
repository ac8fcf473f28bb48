//! Loading a module: maps, type information, and programs, each of them plain first for the
//! verifier's verdict and then rewritten.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use iom_core::abi::{BackendError, LoadRequest, RedirectKind, Refusal};
use iom_core::helper::redirect_kind;
use iom_core::isa::{Imm64, Insn, encode};
use iom_core::map::{Map, MapContents, MapEntry, MapFlags, MapSpec, MapType, MapValue};
use iom_core::module::{Module, Program, ProgramType, XdpAttach};

use super::environment_map::EnvironmentMap;
use super::instance::KernelInstance;
use super::kfuncs::with_btf_id;
use super::log::read_log;
use super::maps::{self, MapsError};
use super::namespace::{Layout, Namespace, Pinned};
use super::rewrite::{self, Rewritten};
use super::syscall::{
    FuncInfo, LineRecord, MapFd, ProgLoad, ProgLoadError, SyscallError, btf_load, object_id,
    prog_load,
};
use super::verdict::{expected_attach_type, prog_type};
use super::{KernelConfig, MAP_TYPES, NAME, XDP_HAS_FRAGS};

/// `BPF_PROG_TYPE_XDP`.
const PROG_TYPE_XDP: u32 = 6;
/// `r0 = 2; exit`: passes every packet.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// One set of loaded programs: an environment map, and prog arrays of its own, so that a tail call
/// stays with that map. Each queue has a set, because queues may run at the same time.
#[derive(Debug)]
pub(super) struct ProgramSet {
    /// What the programs read and leave; none if they are not rewritten.
    pub(super) environment: Option<EnvironmentMap>,
    /// The entry program.
    pub(super) entry: OwnedFd,
    /// Its type.
    pub(super) program_type: ProgramType,
    /// Whether a program calls `redirect` or `redirect_map`.
    pub(super) redirects: bool,
    /// Kernel ids of the loaded programs with their index in the module.
    pub(super) ids: Vec<(u32, u32)>,
    /// Keeps the prog arrays and what they name: a prog array without a descriptor is emptied.
    _tail_calls: (Vec<(usize, MapFd)>, Vec<OwnedFd>),
}

/// All that loading a set of programs needs, kept for the queues that come later.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) module: Arc<Module>,
    pub(super) maps: Vec<MapFd>,
    config: KernelConfig,
    entry: usize,
    cpus: u32,
    btf: Option<OwnedFd>,
    license: CString,
    program_maps: Vec<ProgramMap>,
    /// The device that is to run the programs; 0 for the kernel itself.
    ifindex: u32,
}

/// What a map of programs holds.
#[derive(Debug)]
struct ProgramMap {
    /// Index of the map in the module.
    map: usize,
    slots: Vec<Slot>,
}

/// An entry with a program.
#[derive(Debug)]
struct Slot {
    key: Vec<u8>,
    /// What stands before the program: the interface or queue length of a redirect map.
    before: Vec<u8>,
    /// Index of the program in the module.
    program: usize,
}

/// Loads a module's entry program with all it may call.
pub(super) fn load(
    config: KernelConfig,
    request: &LoadRequest<'_>,
) -> Result<KernelInstance, BackendError> {
    check_request(request)?;
    let namespace = Namespace::with(Layout {
        ports: request.ports,
        queues: request.queues,
        others: request.other_interfaces(),
        network: request.network.clone(),
    })
    .map_err(failed)?;
    let btf = request
        .module
        .btf
        .as_deref()
        .and_then(|btf| btf_load(btf).ok());
    let cpus = maps::possible_cpus();
    let maps = {
        let _inside = namespace.enter().map_err(failed)?;
        // An LRU map remembers which CPU added an entry; seeds come from the first queue's.
        let _pinned = Pinned::to(0).map_err(failed)?;
        create_maps(request, btf.as_ref(), Purpose::Replay)?
    };
    let loader = Loader {
        module: Arc::clone(request.module),
        maps,
        config,
        entry: request.entry,
        cpus,
        btf,
        license: license(request.module),
        program_maps: program_maps(request, |spec| spec.map_type == MapType::ProgArray)?,
        ifindex: 0,
    };
    KernelInstance::new(loader, namespace, request)
}

/// Loads a module's entry program with all that it may call or leave to a redirect map, as they
/// are, for attaching in this thread's namespace; onto the device itself if `ifindex` is not 0.
pub(super) fn load_live(request: &LoadRequest<'_>, ifindex: u32) -> Result<Live, BackendError> {
    check_request(request)?;
    let btf = request.module.btf.as_deref();
    let btf = btf.and_then(|btf| btf_load(btf).ok());
    let program_maps = program_maps(request, holds_programs)?;
    let loader = Loader {
        module: Arc::clone(request.module),
        maps: create_maps(request, btf.as_ref(), Purpose::Live { ifindex })?,
        config: KernelConfig { rewrite: false },
        entry: request.entry,
        cpus: maps::possible_cpus(),
        btf,
        license: license(request.module),
        program_maps,
        ifindex,
    };
    let set = loader.load_set(true)?;
    Ok(Live {
        program: set.entry,
        maps: loader.maps,
        module: loader.module,
    })
}

/// Whether a device runs programs itself: the kernel's answer to the smallest one.
pub(super) fn probe_offload(ifindex: u32) -> Result<(), std::io::Error> {
    let probe = ProgLoad {
        name: "probe",
        prog_type: PROG_TYPE_XDP,
        attach_type: attach_type(XdpAttach::Device),
        flags: 0,
        ifindex,
        insns: &PASS,
        license: c"GPL",
        btf: None,
        functions: &[],
        lines: &[],
    };
    prog_load(&probe).map(drop).map_err(|error| error.source)
}

/// A module that is loaded for a device. Redirect maps hold their programs themselves, and the
/// entry program its maps; only prog arrays are emptied when the last descriptor and pin are gone.
#[derive(Debug)]
pub(super) struct Live {
    /// The entry program.
    pub(super) program: OwnedFd,
    maps: Vec<MapFd>,
    module: Arc<Module>,
}

impl Live {
    /// The maps with their names.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        let names = self.module.maps.iter().map(|spec| spec.name.as_str());
        names.zip(self.maps.iter().map(MapFd::descriptor))
    }

    /// What keeps the prog arrays filled.
    pub(super) fn into_descriptors(self) -> impl Iterator<Item = OwnedFd> {
        self.maps.into_iter().map(MapFd::into_descriptor)
    }
}

/// Whether entries of a map may have programs.
fn holds_programs(spec: &MapSpec) -> bool {
    let kind = redirect_kind(spec.map_type);
    let redirects = matches!(kind, Some(RedirectKind::Devmap | RedirectKind::Cpumap));
    spec.map_type == MapType::ProgArray || redirects
}

/// What a map holds but for the entries that have a program.
fn plain_entries(map: &Map) -> MapContents {
    let spec = map.spec();
    let mut contents = map.seed();
    if holds_programs(spec) {
        contents
            .entries
            .retain(|entry| slot_of(spec, entry).is_none());
    }
    contents
}

/// An entry that names a program, by its index in the module: the value of a prog array, or the
/// second word of a redirect map's less one, because 0 is none there.
fn slot_of(spec: &MapSpec, entry: &MapEntry) -> Option<Slot> {
    let MapValue::Plain(value) = &entry.value else {
        return None;
    };
    let is_array = spec.map_type == MapType::ProgArray;
    let (before, program) = value.split_at_checked(if is_array { 0 } else { 4 })?;
    let program = u32::from_le_bytes(*program.first_chunk()?);
    let none = u32::from(!is_array);
    Some(Slot {
        key: entry.key.clone(),
        before: before.to_vec(),
        program: program.checked_sub(none)? as usize,
    })
}

fn check_request(request: &LoadRequest<'_>) -> Result<(), BackendError> {
    let cpus = maps::possible_cpus();
    if request.queues > cpus {
        return Err(BackendError::Missing {
            backend: NAME,
            reason: format!(
                "{} RX queues need as many CPUs, and this machine has {cpus}",
                request.queues
            ),
        });
    }
    let entry = request.module.programs.get(request.entry);
    let problem = match entry {
        None => Some(format!("the module has no program {}", request.entry)),
        Some(program) => unsupported_program(program).or_else(|| unsupported_map(request.module)),
    };
    match problem {
        Some(message) => Err(refused(request.entry, message)),
        None => Ok(()),
    }
}

fn unsupported_program(program: &Program) -> Option<String> {
    let name = &program.name;
    if program.program_type == ProgramType::Raw {
        return Some(format!("{name} is of no type that Linux has"));
    }
    (program.attach != XdpAttach::Device).then(|| {
        format!("{name} is a devmap or cpumap program, which the kernel does not test-run")
    })
}

fn unsupported_map(module: &Module) -> Option<String> {
    let map = module
        .maps
        .iter()
        .find(|map| !MAP_TYPES.contains(&map.map_type))?;
    Some(format!(
        "map {}: type {} is not supported",
        map.name,
        map.map_type.name()
    ))
}

/// What maps are made for.
#[derive(Clone, Copy)]
enum Purpose {
    /// Test-runs: the same in every run.
    Replay,
    /// A device in use; one that runs programs itself if the index is not 0.
    Live { ifindex: u32 },
}

impl Purpose {
    /// How a map is made. Replayed bloom filters have the hash seed 0, so that they take the same
    /// values for members in every run and on every backend.
    fn spec(self, map: &Map) -> MapSpec {
        let mut spec = map.spec().clone();
        if matches!(self, Self::Replay) && spec.map_type == MapType::BloomFilter {
            spec.flags.0 |= MapFlags::ZERO_SEED;
        }
        spec
    }
}

fn create_maps(
    request: &LoadRequest<'_>,
    btf: Option<&OwnedFd>,
    purpose: Purpose,
) -> Result<Vec<MapFd>, BackendError> {
    let cpus = maps::possible_cpus();
    let (ifindex, contents): (_, fn(&Map) -> MapContents) = match purpose {
        Purpose::Replay => (0, Map::seed),
        Purpose::Live { ifindex } => (ifindex, plain_entries),
    };
    let create = |map: &Arc<Map>| {
        let spec = &purpose.spec(map);
        let fd = maps::create(spec, btf.map(AsFd::as_fd), cpus, ifindex).map_err(failed)?;
        if spec.map_type != MapType::ProgArray && !spec.map_type.holds_maps() {
            maps::import(&fd, spec, &contents(map)).map_err(|error| match error {
                MapsError::Program { .. } | MapsError::Socket { .. } => {
                    refused(request.entry, error.to_string())
                }
                error => failed(error),
            })?;
        }
        Ok(fd)
    };
    let fds: Vec<MapFd> = request.maps.iter().map(create).collect::<Result<_, _>>()?;
    for (outer, map) in fds.iter().zip(request.maps.iter()) {
        if map.spec().map_type.holds_maps() {
            fill_with_maps(outer, map, &fds).map_err(failed)?;
        }
    }
    Ok(fds)
}

/// Puts the module's maps into a map of maps.
fn fill_with_maps(outer: &MapFd, map: &Map, fds: &[MapFd]) -> Result<(), SyscallError> {
    for entry in map.contents().entries {
        let inner = word(&entry.value).and_then(|index| fds.get(index as usize));
        let inner = inner.expect("maps of maps are checked when they are filled");
        outer.update(&entry.key, &inner.number().to_le_bytes())?;
    }
    if map.spec().frozen {
        outer.freeze()?;
    }
    Ok(())
}

fn word(value: &MapValue) -> Option<u32> {
    match value {
        MapValue::Plain(value) => value.first_chunk().map(|word| u32::from_le_bytes(*word)),
        MapValue::PerQueue(_) => None,
    }
}

/// Which programs the maps that `wanted` selects hold.
fn program_maps(
    request: &LoadRequest<'_>,
    wanted: impl Fn(&MapSpec) -> bool,
) -> Result<Vec<ProgramMap>, BackendError> {
    let mut program_maps = Vec::new();
    for (index, map) in request.maps.iter().enumerate() {
        let spec = map.spec();
        if !wanted(spec) {
            continue;
        }
        let entries = map.contents().entries;
        let slots: Vec<_> = entries
            .iter()
            .filter_map(|entry| slot_of(spec, entry))
            .collect();
        for slot in &slots {
            check_slot(request, spec, slot.program)?;
        }
        program_maps.push(ProgramMap { map: index, slots });
    }
    Ok(program_maps)
}

/// The kernel takes only programs that were loaded for this kind of map.
fn check_slot(
    request: &LoadRequest<'_>,
    spec: &MapSpec,
    program: usize,
) -> Result<(), BackendError> {
    let (kind, name) = (spec.map_type.name(), &spec.name);
    let (wanted, section) = match redirect_kind(spec.map_type) {
        Some(RedirectKind::Devmap) => (XdpAttach::Devmap, "xdp/devmap"),
        Some(RedirectKind::Cpumap) => (XdpAttach::Cpumap, "xdp/cpumap"),
        _ => (XdpAttach::Device, "xdp"),
    };
    let entry = request.module.programs[request.entry].program_type;
    let message = match request.module.programs.get(program) {
        None => format!("{kind} {name} names a program that the module does not have"),
        Some(named) if named.program_type == entry && named.attach == wanted => return Ok(()),
        Some(named) => format!(
            "{kind} {name} names program {} of section {}; it takes programs of section {section}",
            named.name, named.section
        ),
    };
    Err(refused(request.entry, message))
}

pub(super) fn license(module: &Module) -> CString {
    let license = module.license.as_deref().unwrap_or_default();
    let text = license.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

impl Loader {
    /// Loads one set of programs. The first set's prog arrays are those in `maps`.
    pub(super) fn load_set(&self, first: bool) -> Result<ProgramSet, BackendError> {
        let prog_arrays = if first {
            Vec::new()
        } else {
            self.create_prog_arrays()?
        };
        let environment = self
            .config
            .rewrite
            .then(EnvironmentMap::create)
            .transpose()
            .map_err(failed)?;
        let numbers = self.numbers(&prog_arrays, environment.as_ref());
        let mut wanted: BTreeSet<usize> = self
            .program_maps
            .iter()
            .flat_map(|map| map.slots.iter().map(|slot| slot.program))
            .collect();
        wanted.insert(self.entry);
        let mut programs = Vec::new();
        for index in wanted {
            programs.push((index, self.load_program(index, &numbers, first)?));
        }
        self.fill_program_maps(&prog_arrays, &programs)?;
        self.finish_set(environment, prog_arrays, programs)
    }

    fn finish_set(
        &self,
        environment: Option<EnvironmentMap>,
        prog_arrays: Vec<(usize, MapFd)>,
        mut programs: Vec<(usize, OwnedFd)>,
    ) -> Result<ProgramSet, BackendError> {
        let mut ids = Vec::new();
        for (index, fd) in &programs {
            let id = object_id(fd).map_err(|source| {
                failed(SyscallError {
                    action: "get the id of a program".to_owned(),
                    source,
                })
            })?;
            ids.push((id, *index as u32));
        }
        let redirects = programs
            .iter()
            .any(|(index, _)| rewrite::redirects(&self.module.programs[*index].insns));
        let entry = programs
            .iter()
            .position(|(index, _)| *index == self.entry)
            .expect("the entry program is among those wanted");
        Ok(ProgramSet {
            environment,
            entry: programs.swap_remove(entry).1,
            program_type: self.module.programs[self.entry].program_type,
            redirects,
            ids,
            _tail_calls: (
                prog_arrays,
                programs.into_iter().map(|(_, fd)| fd).collect(),
            ),
        })
    }

    /// Kernel ids of the maps with their index in the module.
    pub(super) fn map_ids(&self) -> Result<Vec<(u32, u32)>, BackendError> {
        let ids = self.maps.iter().map(|map| object_id(map.descriptor()));
        let ids: Result<Vec<u32>, _> = ids.collect();
        let ids = ids.map_err(|source| {
            failed(SyscallError {
                action: "get the id of a map".to_owned(),
                source,
            })
        })?;
        Ok(ids.into_iter().zip(0..).collect())
    }

    fn create_prog_arrays(&self) -> Result<Vec<(usize, MapFd)>, BackendError> {
        let create = |array: &ProgramMap| {
            let fd = maps::create(&self.module.maps[array.map], None, self.cpus, self.ifindex)?;
            Ok((array.map, fd))
        };
        let arrays: Result<_, SyscallError> = self.program_maps.iter().map(create).collect();
        arrays.map_err(failed)
    }

    /// The descriptor of each map of the module and, behind them, of the environment map.
    fn numbers(
        &self,
        prog_arrays: &[(usize, MapFd)],
        environment: Option<&EnvironmentMap>,
    ) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.maps.iter().map(MapFd::number).collect();
        for (index, array) in prog_arrays {
            numbers[*index] = array.number();
        }
        numbers.extend(environment.map(EnvironmentMap::number));
        numbers
    }

    fn fill_program_maps(
        &self,
        prog_arrays: &[(usize, MapFd)],
        programs: &[(usize, OwnedFd)],
    ) -> Result<(), BackendError> {
        for ProgramMap { map, slots } in &self.program_maps {
            let own = prog_arrays.iter().find(|(index, _)| index == map);
            let target = own.map_or(&self.maps[*map], |(_, array)| array);
            for slot in slots {
                let loaded = programs.iter().find(|(index, _)| *index == slot.program);
                let (_, fd) = loaded.expect("every program of such a map is loaded");
                let number = (fd.as_raw_fd() as u32).to_le_bytes();
                let value = [slot.before.as_slice(), &number].concat();
                target.update(&slot.key, &value).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Loads a program: as it is, for the verdict, if this is the first time, and rewritten if that
    /// makes a difference. The kernel verifies both at the same time; the plain verdict counts.
    fn load_program(
        &self,
        index: usize,
        numbers: &[u32],
        first: bool,
    ) -> Result<OwnedFd, BackendError> {
        let program = &self.module.programs[index];
        let plain = Rewritten::plain(&program.insns);
        let load_plain = || {
            self.load_insns(program, &plain, numbers)
                .map_err(|error| refusal(index, &plain, error))
        };
        let rewritten = rewrite::rewrite(&program.insns, self.maps.len() as u32);
        if !self.config.rewrite || !rewritten.changed {
            return load_plain();
        }
        let load_rewritten = || {
            self.load_insns(program, &rewritten, numbers)
                .map_err(|error| rewrite_failure(program, &rewritten, &error))
        };
        // As it is, a program that asks its device cannot be loaded without one.
        if !first || rewrite::asks_device(&program.insns) {
            return load_rewritten();
        }
        std::thread::scope(|scope| {
            let verdict = scope.spawn(load_plain);
            let loaded = load_rewritten();
            verdict
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            loaded
        })
    }

    fn load_insns(
        &self,
        program: &Program,
        rewritten: &Rewritten,
        numbers: &[u32],
    ) -> Result<OwnedFd, ProgLoadError> {
        let insns = with_descriptors(&rewritten.insns, numbers).map_err(|log| ProgLoadError {
            source: std::io::Error::from_raw_os_error(libc::EBADF),
            log,
        })?;
        let functions = functions(program, rewritten);
        let lines = lines(program, rewritten);
        let btf = self.btf.as_ref().filter(|_| !functions.is_empty());
        prog_load(&ProgLoad {
            name: &program.name,
            prog_type: prog_type(program.program_type).expect("raw programs are refused before"),
            attach_type: expected_attach_type(program),
            flags: if program.fragments { XDP_HAS_FRAGS } else { 0 },
            ifindex: self.ifindex,
            insns: &encode(&insns),
            license: &self.license,
            btf: btf.map(AsFd::as_fd),
            functions: &functions,
            lines: &lines,
        })
    }
}

/// `expected_attach_type` (`enum bpf_attach_type`).
pub(super) const fn attach_type(attach: XdpAttach) -> u32 {
    match attach {
        XdpAttach::Devmap => 33,
        XdpAttach::Cpumap => 35,
        XdpAttach::Device => 37,
    }
}

/// Puts the maps' descriptors and the BTF ids of kernel functions in; the error is what there is
/// none of.
pub(super) fn with_descriptors(insns: &[Insn], numbers: &[u32]) -> Result<Vec<Insn>, String> {
    let number = |map: u32| {
        let number = numbers.get(map as usize).copied();
        number.ok_or_else(|| format!("map {map} is not among the module's maps"))
    };
    let resolve = |insn: &Insn| {
        Ok(match *insn {
            Insn::LoadImm64 {
                dst,
                value: Imm64::Map(map),
            } => Insn::LoadImm64 {
                dst,
                value: Imm64::Map(number(map)?),
            },
            Insn::LoadImm64 {
                dst,
                value: Imm64::MapValue { map, offset },
            } => Insn::LoadImm64 {
                dst,
                value: Imm64::MapValue {
                    map: number(map)?,
                    offset,
                },
            },
            other => with_btf_id(other)?,
        })
    };
    insns.iter().map(resolve).collect()
}

/// Function info, if the object has it for every function: the kernel takes all or none.
pub(super) fn functions(program: &Program, rewritten: &Rewritten) -> Vec<FuncInfo> {
    let record = |function: &iom_core::module::Function| {
        Some(FuncInfo {
            insn_off: *rewritten.starts.get(function.start as usize)?,
            type_id: function.btf_id?,
        })
    };
    let records: Option<Vec<_>> = program.functions.iter().map(record).collect();
    records.unwrap_or_default()
}

/// Line info, if every function starts with a line, as the kernel demands.
pub(super) fn lines(program: &Program, rewritten: &Rewritten) -> Vec<LineRecord> {
    let starts: BTreeSet<u32> = program.lines.iter().map(|line| line.insn).collect();
    let complete = program
        .functions
        .iter()
        .all(|function| starts.contains(&function.start));
    if !complete || starts.len() != program.lines.len() {
        return Vec::new();
    }
    let record = |line: &iom_core::module::LineInfo| {
        let (file_name_off, line_off) = line.btf_offsets;
        Some(LineRecord {
            insn_off: *rewritten.starts.get(line.insn as usize)?,
            file_name_off,
            line_off,
            line_col: line.line << 10 | line.column & 0x3ff,
        })
    };
    program.lines.iter().filter_map(record).collect()
}

/// A program that the kernel's verifier refused, plain.
fn refusal(index: usize, plain: &Rewritten, error: ProgLoadError) -> BackendError {
    let verdict = read_log(&error.log);
    BackendError::Refused {
        backend: NAME,
        reasons: vec![Refusal {
            program: index,
            insn: verdict.insn.map(|slot| plain.original(slot)),
            message: verdict
                .message
                .unwrap_or_else(|| format!("the kernel does not load it: {}", error.source)),
            fix: None,
        }],
        log: error.log,
    }
}

/// A program that the verifier accepted plain but not rewritten.
fn rewrite_failure(
    program: &Program,
    rewritten: &Rewritten,
    error: &ProgLoadError,
) -> BackendError {
    let verdict = read_log(&error.log);
    let place = verdict.insn.map_or_else(String::new, |slot| {
        format!(" at instruction {}", rewritten.original(slot))
    });
    let reason = verdict.message.unwrap_or_else(|| error.source.to_string());
    BackendError::Failed {
        backend: NAME,
        message: format!(
            "the verifier accepts {} but not its deterministic rewrite{place}: {reason}; run it without the rewrite",
            program.name
        ),
    }
}

/// A program that cannot run here.
pub(super) fn refused(program: usize, message: String) -> BackendError {
    BackendError::Refused {
        backend: NAME,
        reasons: vec![Refusal {
            program,
            insn: None,
            message,
            fix: None,
        }],
        log: String::new(),
    }
}

/// The backend itself failed.
pub(super) fn failed(error: impl Into<MapsError>) -> BackendError {
    BackendError::Failed {
        backend: NAME,
        message: error.into().to_string(),
    }
}

/// Contents whose values are the kernel's ids of programs or maps, with their indexes in the module
/// instead, for dumps.
pub(super) fn indexes(ids: &[(u32, u32)], contents: MapContents) -> MapContents {
    let index_of = |value: MapValue| match &value {
        MapValue::Plain(bytes) => bytes
            .first_chunk()
            .map(|word| u32::from_le_bytes(*word))
            .and_then(|id| ids.iter().find(|(known, _)| *known == id))
            .map_or(value, |(_, index)| {
                MapValue::Plain(index.to_le_bytes().to_vec())
            }),
        MapValue::PerQueue(_) => value,
    };
    let entries = contents.entries.into_iter().map(|entry| MapEntry {
        key: entry.key,
        value: index_of(entry.value),
    });
    MapContents {
        entries: entries.collect(),
    }
}
