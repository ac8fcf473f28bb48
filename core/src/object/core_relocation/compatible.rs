//! Finding a path again in another type, and which types may stand for each other.

use super::super::btf::{Btf, BtfKind, BtfMember};
use super::access::{Access, MAX_STEPS, Step, elements, is_flexible};
use super::{CoReError, Kind, Type, essential_name};

/// Longest chain of types that is followed, as in libbpf.
const MAX_DEPTH: u32 = 32;
/// Most members and types that one relocation may look at.
const MAX_LOOKS: u32 = 1 << 22;

/// Compares the program's types with the kernel's.
pub(super) struct Matcher<'a> {
    local: &'a Btf,
    kernel: &'a Btf,
    looks_left: u32,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(local: &'a Btf, kernel: &'a Btf) -> Self {
        Self {
            local,
            kernel,
            looks_left: MAX_LOOKS,
        }
    }

    /// The path in a type of the kernel that the program's path stands for.
    pub(super) fn find(
        &mut self,
        local: &Access,
        kind: Kind,
        root: u32,
    ) -> Result<Option<Access>, CoReError> {
        let plain = Access {
            root,
            steps: Vec::new(),
            bit_offset: 0,
        };
        match kind {
            Kind::Type(Type::Matches) => {
                let same = self.matches(local.root, root, false, MAX_DEPTH)?;
                Ok(same.then_some(plain))
            }
            Kind::Type(_) | Kind::LocalTypeId => {
                let same = self.compatible(local.root, root)?;
                Ok(same.then_some(plain))
            }
            Kind::Enumerator(_) => Ok(self.find_enumerator(local, root)),
            Kind::Field(_) => self.find_field(local, root),
        }
    }

    fn look(&mut self) -> Result<(), CoReError> {
        let left = self.looks_left.checked_sub(1);
        self.looks_left = left.ok_or(CoReError::TooComplex)?;
        Ok(())
    }

    fn find_enumerator(&self, local: &Access, root: u32) -> Option<Access> {
        let step = local.steps.first()?;
        let BtfKind::Enum { values, .. } = &self.local.get(step.type_id)?.kind else {
            return None;
        };
        let wanted = self.local.string(values.get(step.index as usize)?.0)?;
        let (type_id, BtfKind::Enum { values, .. }) = self.kernel.resolve(root)? else {
            return None;
        };
        let index = values.iter().position(|(name, _)| {
            let name = self.kernel.string(*name).unwrap_or_default();
            essential_name(name) == essential_name(wanted)
        })?;
        let step = Step {
            type_id,
            index: index as u32,
            named: true,
        };
        Some(Access {
            root,
            steps: vec![step],
            bit_offset: 0,
        })
    }

    fn find_field(&mut self, local: &Access, root: u32) -> Result<Option<Access>, CoReError> {
        let mut search = Search {
            access: Access {
                root,
                steps: Vec::new(),
                bit_offset: 0,
            },
            raw_len: 0,
        };
        let mut id = root;
        for (position, step) in local.steps.iter().enumerate() {
            if step.named {
                let Some(next) = self.find_member(step, id, &mut search)? else {
                    return Ok(None);
                };
                id = next;
                continue;
            }
            let Some((resolved, kind)) = self.kernel.resolve(id) else {
                return Ok(None);
            };
            id = resolved;
            // The first step is an index of the root itself, the others are of an array.
            if position > 0 {
                let (BtfKind::Array { type_id, count }, Some(last)) =
                    (kind, search.access.steps.last())
                else {
                    return Ok(None);
                };
                if !is_flexible(self.kernel, last, *count) && step.index >= *count {
                    return Ok(None);
                }
                let Some((element, _)) = self.kernel.resolve(*type_id) else {
                    return Ok(None);
                };
                id = element;
            }
            search.enter()?;
            search.access.steps.push(Step {
                type_id: id,
                index: step.index,
                named: false,
            });
            let before = elements(self.kernel, id, step.index).ok_or(CoReError::NoSize)?;
            search.access.bit_offset += before;
        }
        Ok(Some(search.access))
    }

    /// Finds a member by name, in anonymous members too, and gives its type.
    fn find_member(
        &mut self,
        step: &Step,
        id: u32,
        search: &mut Search,
    ) -> Result<Option<u32>, CoReError> {
        let Some(wanted) = member(self.local, step) else {
            return Ok(None);
        };
        let Some((id, kind)) = self.kernel.resolve(id) else {
            return Ok(None);
        };
        let (BtfKind::Struct { members, .. } | BtfKind::Union { members, .. }) = kind else {
            return Ok(None);
        };
        let wanted_name = self.local.string(wanted.name).unwrap_or_default();
        for (index, member) in members.iter().enumerate() {
            self.look()?;
            let name = self.kernel.string(member.name).unwrap_or_default();
            let before = (search.access.bit_offset, search.raw_len);
            search.enter()?;
            search.access.bit_offset += u64::from(member.bit_offset);
            if name.is_empty() {
                let found = self.find_member(step, member.type_id, search)?;
                if found.is_some() {
                    return Ok(found);
                }
            } else if name == wanted_name {
                search.access.steps.push(Step {
                    type_id: id,
                    index: index as u32,
                    named: true,
                });
                let same = self.fields_compatible(wanted.type_id, member.type_id);
                return Ok(same.then_some(member.type_id));
            }
            (search.access.bit_offset, search.raw_len) = before;
        }
        Ok(None)
    }

    /// Whether a field of one type may be read as the other: integers, floats, pointers and
    /// structs whatever they hold, enums of the same name or of none.
    fn fields_compatible(&self, local: u32, kernel: u32) -> bool {
        let (mut local, mut kernel) = (local, kernel);
        for _ in 0..MAX_DEPTH {
            let (Some((a_id, a)), Some((b_id, b))) =
                (self.local.resolve(local), self.kernel.resolve(kernel))
            else {
                return false;
            };
            if is_composite(a) && is_composite(b) {
                return true;
            }
            match (a, b) {
                (BtfKind::Pointer { .. }, BtfKind::Pointer { .. })
                | (BtfKind::Float { .. }, BtfKind::Float { .. }) => return true,
                (BtfKind::Enum { .. }, BtfKind::Enum { .. })
                | (BtfKind::Forward { .. }, BtfKind::Forward { .. }) => {
                    let a = essential_name(self.local.name_of(a_id));
                    let b = essential_name(self.kernel.name_of(b_id));
                    return a.is_empty() || b.is_empty() || a == b;
                }
                (BtfKind::Int { bit_offset: a, .. }, BtfKind::Int { bit_offset: b, .. }) => {
                    return *a == 0 && *b == 0;
                }
                (BtfKind::Array { type_id: a, .. }, BtfKind::Array { type_id: b, .. }) => {
                    (local, kernel) = (*a, *b);
                }
                _ => return false,
            }
        }
        false
    }

    /// Whether types are of the same shape, their members aside (`bpf_core_type_exists`).
    fn compatible(&mut self, local: u32, kernel: u32) -> Result<bool, CoReError> {
        self.compatible_below(local, kernel, MAX_DEPTH)
    }

    fn compatible_below(&mut self, local: u32, kernel: u32, depth: u32) -> Result<bool, CoReError> {
        let (mut local, mut kernel) = (local, kernel);
        for depth in (0..depth).rev() {
            self.look()?;
            let (Some((_, a)), Some((_, b))) =
                (self.local.resolve(local), self.kernel.resolve(kernel))
            else {
                return Ok(false);
            };
            if !a.is_like(b) {
                return Ok(false);
            }
            match (a, b) {
                (BtfKind::Int { bit_offset: a, .. }, BtfKind::Int { bit_offset: b, .. }) => {
                    return Ok(*a == 0 && *b == 0);
                }
                (BtfKind::Pointer { type_id: a }, BtfKind::Pointer { type_id: b })
                | (BtfKind::Array { type_id: a, .. }, BtfKind::Array { type_id: b, .. }) => {
                    (local, kernel) = (*a, *b);
                }
                (
                    BtfKind::FuncProto {
                        return_id: a,
                        params: ours,
                    },
                    BtfKind::FuncProto {
                        return_id: b,
                        params: theirs,
                    },
                ) => {
                    if ours.len() != theirs.len() {
                        return Ok(false);
                    }
                    for ((_, ours), (_, theirs)) in ours.iter().zip(theirs) {
                        if !self.compatible_below(*ours, *theirs, depth)? {
                            return Ok(false);
                        }
                    }
                    (local, kernel) = (*a, *b);
                }
                (kind, _) => {
                    return Ok(is_composite(kind)
                        || matches!(
                            kind,
                            BtfKind::Void | BtfKind::Enum { .. } | BtfKind::Forward { .. }
                        ));
                }
            }
        }
        Err(CoReError::TooComplex)
    }

    /// Whether the program's type says nothing that the kernel's does not (`bpf_core_type_matches`).
    fn matches(
        &mut self,
        local: u32,
        kernel: u32,
        behind_pointer: bool,
        depth: u32,
    ) -> Result<bool, CoReError> {
        let (mut local, mut kernel, mut behind) = (local, kernel, behind_pointer);
        for depth in (0..depth).rev() {
            self.look()?;
            let (Some((a_id, a)), Some((b_id, b))) =
                (self.local.resolve(local), self.kernel.resolve(kernel))
            else {
                return Ok(false);
            };
            let names = (self.local.name_of(a_id), self.kernel.name_of(b_id));
            if essential_name(names.0) != essential_name(names.1) {
                return Ok(false);
            }
            match (a, b) {
                (BtfKind::Pointer { type_id: a }, BtfKind::Pointer { type_id: b }) => {
                    behind = true;
                    (local, kernel) = (*a, *b);
                }
                (
                    BtfKind::Array {
                        type_id: a,
                        count: ours,
                    },
                    BtfKind::Array {
                        type_id: b,
                        count: theirs,
                    },
                ) if ours == theirs => (local, kernel) = (*a, *b),
                (
                    BtfKind::FuncProto {
                        return_id: a,
                        params: ours,
                    },
                    BtfKind::FuncProto {
                        return_id: b,
                        params: theirs,
                    },
                ) if ours.len() == theirs.len() => {
                    for ((_, ours), (_, theirs)) in ours.iter().zip(theirs) {
                        if !self.matches(*ours, *theirs, behind, depth)? {
                            return Ok(false);
                        }
                    }
                    (local, kernel) = (*a, *b);
                }
                _ if behind => return Ok(self.matches_behind_pointer(a, b)),
                (
                    BtfKind::Struct { members: ours, .. },
                    BtfKind::Struct {
                        members: theirs, ..
                    },
                )
                | (
                    BtfKind::Union { members: ours, .. },
                    BtfKind::Union {
                        members: theirs, ..
                    },
                ) => {
                    return self.members_match(ours, theirs, depth);
                }
                _ => return Ok(self.leaves_match(a, b)),
            }
        }
        Err(CoReError::TooComplex)
    }

    /// Behind a pointer only the name of a struct or union counts, also where one side has no
    /// more than a declaration.
    fn matches_behind_pointer(&self, local: &BtfKind, kernel: &BtfKind) -> bool {
        let is_union = |kind: &BtfKind| match kind {
            BtfKind::Struct { .. } => Some(false),
            BtfKind::Union { .. } => Some(true),
            BtfKind::Forward { union } => Some(*union),
            _ => None,
        };
        match (is_union(local), is_union(kernel)) {
            (Some(local), Some(kernel)) => local == kernel,
            _ => self.leaves_match(local, kernel),
        }
    }

    fn leaves_match(&self, local: &BtfKind, kernel: &BtfKind) -> bool {
        match (local, kernel) {
            (BtfKind::Void, BtfKind::Void) => true,
            (BtfKind::Forward { union: a }, BtfKind::Forward { union: b }) => a == b,
            (
                BtfKind::Int {
                    size: a,
                    signed: a_signed,
                    ..
                },
                BtfKind::Int {
                    size: b,
                    signed: b_signed,
                    ..
                },
            ) => a == b && a_signed == b_signed,
            (BtfKind::Enum { values: ours, .. }, BtfKind::Enum { values: theirs, .. }) => {
                ours.len() <= theirs.len() && self.enumerators_match(ours, theirs)
            }
            _ => false,
        }
    }

    fn enumerators_match(&self, ours: &[(u32, i64)], theirs: &[(u32, i64)]) -> bool {
        let names = theirs.iter().map(|(name, _)| self.kernel.string(*name));
        let theirs: std::collections::BTreeSet<_> = names.flatten().map(essential_name).collect();
        ours.iter().all(|(name, _)| {
            let name = self.local.string(*name).unwrap_or_default();
            theirs.contains(essential_name(name))
        })
    }

    /// Whether each of our members is one of theirs, by name and type.
    fn members_match(
        &mut self,
        ours: &[BtfMember],
        theirs: &[BtfMember],
        depth: u32,
    ) -> Result<bool, CoReError> {
        if ours.len() > theirs.len() {
            return Ok(false);
        }
        for our in ours {
            let name = essential_name(self.local.string(our.name).unwrap_or_default());
            let mut found = false;
            for their in theirs {
                self.look()?;
                let their_name = self.kernel.string(their.name).unwrap_or_default();
                found = essential_name(their_name) == name
                    && self.matches(our.type_id, their.type_id, false, depth)?;
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A path in the kernel's types while it is being found.
struct Search {
    access: Access,
    /// Steps with those into anonymous members.
    raw_len: usize,
}

impl Search {
    fn enter(&mut self) -> Result<(), CoReError> {
        if self.raw_len == MAX_STEPS {
            return Err(CoReError::TooComplex);
        }
        self.raw_len += 1;
        Ok(())
    }
}

fn is_composite(kind: &BtfKind) -> bool {
    matches!(kind, BtfKind::Struct { .. } | BtfKind::Union { .. })
}

/// The member that a named step goes to.
pub(super) fn member<'a>(btf: &'a Btf, step: &Step) -> Option<&'a BtfMember> {
    match &btf.get(step.type_id)?.kind {
        BtfKind::Struct { members, .. } | BtfKind::Union { members, .. } => {
            members.get(step.index as usize)
        }
        _ => None,
    }
}
