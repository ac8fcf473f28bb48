//! Whether two objects mean the same thing by a name: what a declaration must have in common with
//! the definition.

use crate::object::btf::{Btf, BtfKind, BtfMember};

/// Most types that are compared for one name.
const MAX_STEPS: u32 = 10_000;

/// How closely types are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// With the members of structs and the lengths of arrays.
    Exact,
    /// Structs by their names only, as behind pointers; an array may leave its length open.
    Outline,
}

/// How the second differs from the first, if it does.
pub(super) fn difference(
    first: (&Btf, u32),
    second: (&Btf, u32),
    fit: Fit,
) -> Option<&'static str> {
    let kind = |(btf, id): (&Btf, u32)| btf.get(id).map(|found| found.kind.clone());
    let (what, first_id, second_id) = match (kind(first), kind(second)) {
        (Some(BtfKind::Func { type_id: a, .. }), Some(BtfKind::Func { type_id: b, .. })) => {
            ("parameters or result have other types", a, b)
        }
        (Some(BtfKind::Var { type_id: a, .. }), Some(BtfKind::Var { type_id: b, .. })) => {
            ("its type is another", a, b)
        }
        _ => return Some("one is a function, the other a variable"),
    };
    let mut comparison = Comparison {
        first: first.0,
        second: second.0,
        steps: MAX_STEPS,
    };
    (!comparison.same(first_id, second_id, fit)).then_some(what)
}

struct Comparison<'a> {
    first: &'a Btf,
    second: &'a Btf,
    steps: u32,
}

impl Comparison<'_> {
    fn same(&mut self, first: u32, second: u32, fit: Fit) -> bool {
        let (Some((first, a)), Some((second, b))) =
            (self.first.resolve(first), self.second.resolve(second))
        else {
            return false;
        };
        let Some(left) = self.steps.checked_sub(1) else {
            return false;
        };
        self.steps = left;
        self.first.name_of(first) == self.second.name_of(second) && self.same_kind(a, b, fit)
    }

    fn same_kind(&mut self, a: &BtfKind, b: &BtfKind, fit: Fit) -> bool {
        match (a, b) {
            (BtfKind::Pointer { type_id: a }, BtfKind::Pointer { type_id: b }) => {
                self.same(*a, *b, Fit::Outline)
            }
            (
                BtfKind::Array {
                    type_id: a,
                    count: m,
                },
                BtfKind::Array {
                    type_id: b,
                    count: n,
                },
            ) => {
                let open = fit == Fit::Outline && (*m == 0 || *n == 0);
                (m == n || open) && self.same(*a, *b, fit)
            }
            (
                BtfKind::FuncProto {
                    return_id: a,
                    params: of_a,
                },
                BtfKind::FuncProto {
                    return_id: b,
                    params: of_b,
                },
            ) => {
                of_a.len() == of_b.len()
                    && self.same(*a, *b, fit)
                    && of_a.iter().zip(of_b).all(|(a, b)| self.same(a.1, b.1, fit))
            }
            (
                BtfKind::Struct { .. },
                BtfKind::Struct { .. } | BtfKind::Forward { union: false },
            )
            | (BtfKind::Forward { union: false }, BtfKind::Struct { .. })
            | (BtfKind::Union { .. }, BtfKind::Union { .. } | BtfKind::Forward { union: true })
            | (BtfKind::Forward { union: true }, BtfKind::Union { .. })
                if fit == Fit::Outline =>
            {
                true
            }
            (
                BtfKind::Struct {
                    size: m,
                    members: a,
                },
                BtfKind::Struct {
                    size: n,
                    members: b,
                },
            )
            | (
                BtfKind::Union {
                    size: m,
                    members: a,
                },
                BtfKind::Union {
                    size: n,
                    members: b,
                },
            ) => m == n && self.same_members(a, b, fit),
            (BtfKind::Enum { size: a, .. }, BtfKind::Enum { size: b, .. }) => a == b,
            (a, b) => a == b,
        }
    }

    fn same_members(&mut self, a: &[BtfMember], b: &[BtfMember], fit: Fit) -> bool {
        let mut pairs = a.iter().zip(b);
        let same = pairs.all(|(a, b)| {
            self.first.string(a.name) == self.second.string(b.name)
                && (a.bit_offset, a.bit_size) == (b.bit_offset, b.bit_size)
                && self.same(a.type_id, b.type_id, fit)
        });
        same && a.len() == b.len()
    }
}
