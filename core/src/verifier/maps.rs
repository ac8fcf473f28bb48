//! Maps as the verifier sees them: those of the module and the templates of the maps inside maps,
//! with the members of their values that only helpers may touch.

use super::register::{Kind, Socket};
use crate::map::{MapFlags, MapSpec, MapType};
use crate::module::Module;
use crate::object::btf::{Btf, BtfKind};

/// Members of a value that are not plain data (`enum btf_field_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    SpinLock,
    ResilientSpinLock,
    Timer,
    WorkQueue,
    TaskWork,
    ListHead,
    Root,
    ReferenceCount,
    /// A pointer into the kernel.
    Pointer,
}

impl Special {
    const NAMED: [(&'static str, Self); 8] = [
        ("bpf_spin_lock", Self::SpinLock),
        ("bpf_res_spin_lock", Self::ResilientSpinLock),
        ("bpf_timer", Self::Timer),
        ("bpf_wq", Self::WorkQueue),
        ("bpf_task_work", Self::TaskWork),
        ("bpf_list_head", Self::ListHead),
        ("bpf_rb_root", Self::Root),
        ("bpf_refcount", Self::ReferenceCount),
    ];

    /// Linux's name (`btf_field_type_name`).
    pub(super) fn name(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(_, special)| *special == self);
        named.map_or("kptr", |(name, _)| name)
    }

    /// Whether a map of this type may have it in its values.
    fn fits(self, map_type: MapType) -> bool {
        let plain = matches!(map_type, MapType::Hash | MapType::Array);
        match self {
            Self::Timer | Self::WorkQueue | Self::TaskWork | Self::ListHead | Self::Root => {
                plain || map_type == MapType::LruHash
            }
            Self::Pointer | Self::ReferenceCount => {
                let more = matches!(map_type, MapType::LruHash | MapType::PercpuArray);
                plain || more || map_type.is_per_cpu()
            }
            Self::SpinLock | Self::ResilientSpinLock => plain,
        }
    }
}

/// Where such a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) special: Special,
    pub(super) offset: u32,
    pub(super) size: u32,
}

/// A map.
#[derive(Clone, Debug)]
struct Entry<'a> {
    spec: &'a MapSpec,
    /// The kernel knows the types of its keys and values.
    typed: bool,
    fields: Vec<Field>,
    /// Template of the maps in it.
    inner: Option<u32>,
}

/// All maps, by the number that pointers carry: the module's first, templates behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Maps<'a> {
    pub(super) fn of(module: &'a Module, btf: Option<&Btf>) -> Self {
        let mut maps = Self::default();
        for spec in &module.maps {
            maps.add(spec, btf);
        }
        let mut index = 0;
        while let Some(entry) = maps.entries.get(index) {
            if let Some(inner) = entry.spec.inner.as_deref() {
                let number = maps.entries.len() as u32;
                maps.add(inner, btf);
                maps.entries[index].inner = Some(number);
            }
            index += 1;
        }
        maps
    }

    /// Linux takes a map's types only if it supports all that they hold there; loaders then make
    /// it without.
    fn add(&mut self, spec: &'a MapSpec, btf: Option<&Btf>) {
        let (_, value_type) = spec.btf_types;
        let mut fields = Vec::new();
        let mut typed = false;
        if let Some(btf) = btf.filter(|_| value_type != 0) {
            special_members(btf, value_type, 0, 0, &mut fields);
            let restricted = spec.flags.0 & (MapFlags::RDONLY_PROG | MapFlags::WRONLY_PROG) != 0;
            let fits = |field: &Field| !restricted && field.special.fits(spec.map_type);
            typed = fields.iter().all(fits);
        }
        if !typed {
            fields.clear();
        }
        self.entries.push(Entry {
            spec,
            typed,
            fields,
            inner: None,
        });
    }

    /// Whether it stands for the maps in another one, and has no name in the kernel.
    pub(super) fn is_template(&self, map: u32) -> bool {
        self.entries.iter().any(|entry| entry.inner == Some(map))
    }

    pub(super) fn spec(&self, map: u32) -> &'a MapSpec {
        self.entries[map as usize].spec
    }

    /// Whether the kernel knows the types of its keys and values.
    pub(super) fn is_typed(&self, map: u32) -> bool {
        self.entries[map as usize].typed
    }

    /// The members of its values that are not plain data.
    pub(super) fn fields(&self, map: u32) -> &[Field] {
        &self.entries[map as usize].fields
    }

    /// The only member of this kind.
    pub(super) fn field(&self, map: u32, special: Special) -> Option<Field> {
        let mut fields = self.fields(map).iter();
        fields.find(|field| field.special == special).copied()
    }

    /// Whether its values hold a lock, so that each lookup gives a value of its own.
    pub(super) fn has_lock(&self, map: u32) -> bool {
        let lock = |field: &Field| {
            matches!(
                field.special,
                Special::SpinLock | Special::ResilientSpinLock
            )
        };
        self.fields(map).iter().any(lock)
    }

    /// What a pointer is once it is known not to be null (`mark_ptr_not_null_reg`).
    pub(super) fn not_null(&self, kind: Kind) -> Kind {
        let Kind::MapValue { map, .. } = kind else {
            return kind.not_null();
        };
        let entry = &self.entries[map as usize];
        match entry.inner {
            Some(inner) => Kind::Map(inner),
            None if entry.spec.map_type == MapType::Xskmap => Kind::Socket {
                socket: Socket::Xdp,
                nullable: false,
            },
            None => kind.not_null(),
        }
    }
}

/// Gathers what is special in a type, members of members included.
fn special_members(btf: &Btf, type_id: u32, base: u32, depth: u32, found: &mut Vec<Field>) {
    const MAX_DEPTH: u32 = 8;
    let Some((id, BtfKind::Struct { members, .. })) = btf.resolve(type_id) else {
        return;
    };
    if depth > MAX_DEPTH {
        return;
    }
    let named = Special::NAMED.iter().find(|row| row.0 == btf.name_of(id));
    if let Some((_, special)) = named {
        found.push(Field {
            special: *special,
            offset: base,
            size: btf.size_of(id).unwrap_or(0),
        });
        return;
    }
    for member in members {
        let offset = base.saturating_add(member.bit_offset / 8);
        if is_kernel_pointer(btf, member.type_id) {
            found.push(Field {
                special: Special::Pointer,
                offset,
                size: 8,
            });
        } else {
            special_members(btf, member.type_id, offset, depth + 1, found);
        }
    }
}

/// Whether a pointer has one of the tags that say where it points to.
fn is_kernel_pointer(btf: &Btf, type_id: u32) -> bool {
    const TAGS: [&str; 4] = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"];
    let Some((_, BtfKind::Pointer { type_id })) = btf.resolve(type_id) else {
        return false;
    };
    let target = btf.get(*type_id).map(|target| &target.kind);
    matches!(target, Some(BtfKind::Modifier { .. })) && TAGS.contains(&btf.name_of(*type_id))
}
