//! Symbols of the result: static ones as they are, one for each other name, defined by the first
//! object that defines it, or by the only one whose definition is not weak.

use std::collections::BTreeMap;

use super::sections::Sections;
use super::{Input, LinkError};
use crate::object::elf::{Place, Symbol, SymbolKind};

/// `STT_FILE`
const FILE: u8 = 4;

/// The symbols of the result.
#[derive(Debug, Default)]
pub(super) struct Symbols<'a> {
    pub(super) locals: Vec<OutSymbol<'a>>,
    pub(super) globals: Vec<OutSymbol<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// By object and its symbol.
    by_input: Vec<Vec<Option<SymbolRef>>>,
}

/// A symbol of the result, by its place in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolRef {
    /// The start of a section.
    Section(usize),
    Local(usize),
    Global(usize),
}

/// A symbol of the result.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutSymbol<'a> {
    pub(super) name: &'a str,
    /// `STT_*`
    pub(super) elf_type: u8,
    pub(super) weak: bool,
    pub(super) hidden: bool,
    /// Section of the result; none if nobody defines it.
    pub(super) section: Option<usize>,
    pub(super) value: u64,
    pub(super) size: u64,
    /// The object that it comes from.
    pub(super) object: usize,
}

impl<'a> Symbols<'a> {
    /// Resolves the names of all objects.
    pub(super) fn resolve(objects: &[Input<'a>], sections: &Sections) -> Result<Self, LinkError> {
        let mut symbols = Self::default();
        for (object, input) in objects.iter().enumerate() {
            let mut by_input = Vec::with_capacity(input.elf.symbols.len());
            for symbol in &input.elf.symbols {
                by_input.push(symbols.add(objects, object, symbol, sections)?);
            }
            symbols.by_input.push(by_input);
        }
        Ok(symbols)
    }

    /// What a symbol of an object becomes; nothing if it is left out.
    pub(super) fn of(&self, object: usize, index: usize) -> Option<SymbolRef> {
        *self.by_input.get(object)?.get(index)?
    }

    /// The symbol that a name stands for in all objects.
    pub(super) fn global(&self, name: &str) -> Option<&OutSymbol<'a>> {
        Some(&self.globals[*self.by_name.get(name)?])
    }

    /// Names that nobody defines, sorted.
    pub(super) fn undefined(&self) -> impl Iterator<Item = &'a str> {
        let names = self.by_name.iter();
        let undefined = names.filter(|(_, index)| self.globals[**index].section.is_none());
        undefined.map(|(name, _)| *name)
    }

    fn add(
        &mut self,
        objects: &[Input<'a>],
        object: usize,
        symbol: &Symbol<'a>,
        sections: &Sections,
    ) -> Result<Option<SymbolRef>, LinkError> {
        let placed = match symbol.place {
            Place::Section(section) => match sections.placed(object, section) {
                Some(placed) => Some(placed),
                None => return Ok(None),
            },
            Place::Undefined => None,
            Place::Other if symbol.local => return Ok(None),
            Place::Other => {
                return Err(LinkError::Common {
                    file: objects[object].name.to_owned(),
                    symbol: symbol.name.to_owned(),
                });
            }
        };
        if symbol.kind == SymbolKind::Section {
            return Ok(placed.map(|placed| SymbolRef::Section(placed.section)));
        }
        // The first of the table is no symbol.
        if symbol.elf_type == FILE || symbol.local && placed.is_none() {
            return Ok(None);
        }
        let found = OutSymbol {
            name: symbol.name,
            elf_type: symbol.elf_type,
            weak: symbol.weak,
            hidden: symbol.hidden,
            section: placed.map(|placed| placed.section),
            value: symbol
                .value
                .wrapping_add(placed.map_or(0, |placed| placed.base)),
            size: symbol.size,
            object,
        };
        if symbol.local {
            self.locals.push(found);
            return Ok(Some(SymbolRef::Local(self.locals.len() - 1)));
        }
        let index = *self
            .by_name
            .entry(symbol.name)
            .or_insert(self.globals.len());
        match self.globals.get_mut(index) {
            None => self.globals.push(found),
            Some(known) => known.meet(&found, objects)?,
        }
        Ok(Some(SymbolRef::Global(index)))
    }
}

impl OutSymbol<'_> {
    /// Another object has this name too: which of both counts.
    fn meet(&mut self, other: &Self, objects: &[Input]) -> Result<(), LinkError> {
        let replaced = match (self.section, other.section) {
            (None, None) => {
                // Who needs it decides, not who asks whether it is there.
                self.weak &= other.weak;
                false
            }
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(_), Some(_)) if !self.weak && !other.weak => {
                return Err(LinkError::Twice {
                    symbol: self.name.to_owned(),
                    first: objects[self.object].name.to_owned(),
                    second: objects[other.object].name.to_owned(),
                });
            }
            (Some(_), Some(_)) => self.weak && !other.weak,
        };
        let hidden = self.hidden || other.hidden;
        if replaced {
            *self = *other;
        }
        self.hidden = hidden;
        Ok(())
    }
}
