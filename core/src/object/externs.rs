//! Variables of the kernel's configuration (`__kconfig`): values that are known when the program
//! is loaded, in a read-only array of their own as libbpf makes it.

use std::collections::BTreeMap;

use super::btf::{Btf, BtfKind};
use super::elf::{Elf, Place};
use super::error::{ExternErrorKind, ProgramErrorKind};
use super::kernel_config::KernelConfig;
use crate::map::{InitialEntry, InitialValue, MapFlags, MapSpec, MapType};

/// The section that declares them, and the name of their array.
pub(super) const SECTION: &str = ".kconfig";
/// Most bytes of a variable: options are text of a few hundred bytes at most.
const MAX_SIZE: u32 = 4096;
/// Most bytes of all variables together.
const MAX_TOTAL: usize = 1 << 20;

/// The configuration variables of an object.
#[derive(Debug, Default)]
pub(super) struct ConfigVariables {
    /// Offset in the array, or why there is no value.
    pub(super) places: BTreeMap<String, Result<u32, ProgramErrorKind>>,
    /// The array, if there are any.
    pub(super) spec: Option<MapSpec>,
}

/// A declaration before it has a place.
struct Variable<'a> {
    name: &'a str,
    kind: Type,
    size: u32,
    align: u32,
    weak: bool,
}

/// What a variable can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Char { signed: bool },
    Int { signed: bool },
    Tristate,
    Text,
}

impl ConfigVariables {
    /// Reads the declarations and gives each the value that the kernel has.
    pub(super) fn read(elf: &Elf, btf: Option<&Btf>, config: Option<&KernelConfig>) -> Self {
        let mut found = Self::default();
        let mut variables = Vec::new();
        let undefined = elf.symbols.iter();
        let undefined = undefined.filter(|symbol| symbol.place == Place::Undefined);
        let symbols: BTreeMap<_, _> = undefined.map(|symbol| (symbol.name, symbol.weak)).collect();
        let declared = btf.and_then(|btf| Some((btf, btf.datasec(SECTION)?.1)));
        for (btf, var) in declared
            .iter()
            .flat_map(|(btf, vars)| vars.iter().map(move |var| (*btf, var)))
        {
            let name = btf.name_of(var.type_id);
            let Some(&weak) = symbols.get(name) else {
                continue;
            };
            if let Some(variable) = variable(btf, var.type_id, name, weak) {
                variables.push(variable);
            } else {
                let error = fault(name, ExternErrorKind::Type);
                found.places.insert(name.to_owned(), Err(error));
            }
        }
        // Offsets in libbpf's order, so that instructions are the same.
        variables.sort_by_key(|v| (std::cmp::Reverse(v.align), v.size, v.name));
        let mut bytes = Vec::new();
        for variable in variables {
            bytes.resize(bytes.len().next_multiple_of(variable.align as usize), 0);
            let offset = bytes.len() as u32;
            if bytes.len() > MAX_TOTAL {
                let error = fault(variable.name, ExternErrorKind::Type);
                found.places.insert(variable.name.to_owned(), Err(error));
                continue;
            }
            let value = variable.value(config);
            let value = value.map_err(|kind| fault(variable.name, kind));
            bytes.extend(value.as_ref().map_or(&[][..], Vec::as_slice));
            bytes.resize(offset as usize + variable.size as usize, 0);
            let place = value.map(|_| offset);
            found.places.insert(variable.name.to_owned(), place);
        }
        found.spec = (!bytes.is_empty()).then(|| array(bytes));
        found
    }
}

fn fault(symbol: &str, kind: ExternErrorKind) -> ProgramErrorKind {
    ProgramErrorKind::Kconfig {
        symbol: symbol.to_owned(),
        kind,
    }
}

fn array(bytes: Vec<u8>) -> MapSpec {
    let mut spec = MapSpec::new(SECTION, MapType::Array, 4, bytes.len() as u32, 1);
    spec.flags.0 |= MapFlags::RDONLY_PROG | MapFlags::MMAPABLE;
    spec.frozen = true;
    spec.data_section = true;
    spec.initial.push(InitialEntry {
        key: vec![0; 4],
        value: InitialValue::Bytes(bytes),
    });
    spec
}

fn variable<'a>(btf: &Btf, var_id: u32, name: &'a str, weak: bool) -> Option<Variable<'a>> {
    let BtfKind::Var { type_id, .. } = btf.get(var_id)?.kind else {
        return None;
    };
    let size = btf.size_of(type_id)?;
    let (kind, align) = match btf.resolve(type_id)? {
        (_, BtfKind::Array { type_id, count }) => {
            let element = of_int(btf.resolve(*type_id)?.1)?;
            let text = *count > 0 && matches!(element, Type::Char { .. });
            (text.then_some(Type::Text)?, 1)
        }
        (id, BtfKind::Enum { size: 4, .. }) => {
            let tristate = btf.name_of(id) == "libbpf_tristate";
            (tristate.then_some(Type::Tristate)?, 4)
        }
        (_, kind) => (of_int(kind)?, size),
    };
    (size <= MAX_SIZE).then_some(Variable {
        name,
        kind,
        size,
        align,
        weak,
    })
}

fn of_int(kind: &BtfKind) -> Option<Type> {
    let BtfKind::Int {
        size,
        signed,
        boolean,
        ..
    } = *kind
    else {
        return None;
    };
    match size {
        1 if boolean => Some(Type::Bool),
        1 => Some(Type::Char { signed }),
        2 | 4 | 8 if !boolean => Some(Type::Int { signed }),
        _ => None,
    }
}

impl Variable<'_> {
    /// The value in the kernel's configuration; a weak variable that has none is zero.
    fn value(&self, config: Option<&KernelConfig>) -> Result<Vec<u8>, ExternErrorKind> {
        let absent = |kind| {
            if self.weak {
                Ok(vec![0; self.size as usize])
            } else {
                Err(kind)
            }
        };
        let Some(config) = config else {
            return absent(ExternErrorKind::NoConfig);
        };
        if self.name == "LINUX_KERNEL_VERSION" {
            let version = config.version().map(u64::from);
            return match version {
                Some(version) => self.number(version, false),
                None => absent(ExternErrorKind::NoVersion),
            };
        }
        let Some(text) = config.option(self.name) else {
            return absent(ExternErrorKind::NotSet);
        };
        self.option(text).map_err(|kind| match kind {
            ExternErrorKind::Value { .. } => ExternErrorKind::Value {
                value: text.to_owned(),
            },
            kind => kind,
        })
    }

    /// An option as the configuration writes it: `y`, `m`, `n`, text in quotes or a number.
    fn option(&self, text: &str) -> Result<Vec<u8>, ExternErrorKind> {
        let wrong = || ExternErrorKind::Value {
            value: text.to_owned(),
        };
        if let "y" | "n" | "m" = text {
            let value = match (self.kind, text) {
                (Type::Bool | Type::Tristate, "n") => 0,
                (Type::Bool | Type::Tristate, "y") => 1,
                (Type::Tristate, _) => 2,
                (Type::Char { .. }, _) => text.as_bytes()[0],
                _ => return Err(wrong()),
            };
            let mut bytes = vec![0; self.size as usize];
            bytes[0] = value;
            return Ok(bytes);
        }
        if let Some(quoted) = text.strip_prefix('"') {
            let quoted = quoted.strip_suffix('"').ok_or_else(wrong)?;
            if self.kind != Type::Text {
                return Err(wrong());
            }
            // Longer text is cut so that its NUL fits.
            let len = quoted.len().min(self.size as usize - 1);
            let mut bytes = quoted.as_bytes()[..len].to_vec();
            bytes.resize(self.size as usize, 0);
            return Ok(bytes);
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        self.number(number.map_err(|_| wrong())?, negative)
    }

    /// A number, if the variable can hold it.
    fn number(&self, magnitude: u64, negative: bool) -> Result<Vec<u8>, ExternErrorKind> {
        let value = if negative {
            -i128::from(magnitude)
        } else {
            i128::from(magnitude)
        };
        let bits = self.size * 8;
        let range = match self.kind {
            Type::Int { signed: true } | Type::Char { signed: true } => {
                -(1i128 << (bits - 1))..1i128 << (bits - 1)
            }
            Type::Int { .. } | Type::Char { .. } => 0..1i128 << bits,
            Type::Bool | Type::Tristate | Type::Text => 0..0,
        };
        if !range.contains(&value) {
            let value = value.to_string();
            return Err(ExternErrorKind::Value { value });
        }
        Ok(value.to_le_bytes()[..self.size as usize].to_vec())
    }
}
