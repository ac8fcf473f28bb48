//! One line of source: comment, labels, and what is left, with places for messages.

use super::directive::{Directive, directive};
use super::insn::{Statement, instruction};
use super::token::{
    Expected, Parsed, described, expected, is_name_char, name, sign, skip_space, unsigned,
};
use super::{AsmError, AsmErrorKind};
use nom::Parser;
use nom::branch::alt;
use nom::character::complete::hex_digit1;
use nom::combinator::{map, opt};
use nom::multi::many0;
use nom::sequence::{delimited, pair, preceded, terminated};

/// A line without its comment.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    number: u32,
    text: &'a str,
}

/// What a line says.
pub(super) struct Content<'a> {
    pub(super) labels: Vec<(&'a str, Place)>,
    pub(super) item: Option<Item>,
    /// Where the item starts.
    pub(super) place: Place,
}

pub(super) enum Item {
    Directive(Directive),
    Statement(Statement),
}

/// A place in the source.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
    byte: usize,
}

impl Place {
    pub(super) fn error(self, kind: AsmErrorKind) -> AsmError {
        AsmError {
            line: self.line,
            column: self.column,
            kind,
        }
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(number: u32, text: &'a str) -> Self {
        Self {
            number,
            text: without_comment(text).trim_end(),
        }
    }

    /// The place this many bytes before the end of the line.
    pub(super) fn place(self, to_end: usize) -> Place {
        let byte = self.text.len() - to_end;
        let column = self.text[..byte].chars().count() as u32 + 1;
        Place {
            line: self.number,
            column,
            byte,
        }
    }

    /// The text from a place on.
    pub(super) fn from(self, place: Place) -> &'a str {
        &self.text[place.byte..]
    }

    pub(super) fn parse(self) -> Result<Content<'a>, AsmError> {
        self.try_parse().map_err(|error| match error {
            nom::Err::Error(expected) | nom::Err::Failure(expected) => self.syntax_error(&expected),
            nom::Err::Incomplete(_) => unreachable!("lines are complete"),
        })
    }

    fn try_parse(self) -> Result<Content<'a>, nom::Err<Expected<'a>>> {
        let (rest, labels) = labels(skip_space(self.text))?;
        let labels = labels
            .into_iter()
            .map(|(to_end, label)| (label, self.place(to_end)))
            .collect();
        let place = self.place(rest.len());
        if rest.is_empty() {
            return Ok(Content {
                labels,
                item: None,
                place,
            });
        }
        let item = alt((
            map(directive, Item::Directive),
            map(instruction, Item::Statement),
        ));
        let (end, item) = described("an instruction, a directive or a label", item).parse(rest)?;
        if !end.is_empty() {
            return expected(end, "the end of the line").map(|(_, never)| never);
        }
        Ok(Content {
            labels,
            item: Some(item),
            place,
        })
    }

    fn syntax_error(self, expected: &Expected<'_>) -> AsmError {
        let found = match first_word(expected.at) {
            "" => "the end of the line".to_owned(),
            word => format!("`{word}`"),
        };
        let expected_text = match expected.items.as_slice() {
            [] => "something else".to_owned(),
            [only] => only.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
        };
        let kind = AsmErrorKind::Syntax {
            found,
            expected: expected_text,
        };
        self.place(expected.at.len()).error(kind)
    }
}

/// What to show of a text that is not understood: a name or number, or else what comes before the
/// next space.
fn first_word(text: &str) -> &str {
    let word = |is_end: fn(char) -> bool| &text[..text.find(is_end).unwrap_or(text.len())];
    match word(|c| !is_name_char(c)) {
        "" => word(char::is_whitespace),
        name => name,
    }
}

/// Labels with the bytes from each to the end of the line, after what the kernel's listings put
/// in front: the slot and the opcode, as in `12: (b7) r0 = 1`.
fn labels(input: &str) -> Parsed<'_, Vec<(usize, &str)>> {
    let opcode = delimited(sign("("), hex_digit1, sign(")"));
    let slot = pair(terminated(unsigned, sign(":")), opt(opcode));
    preceded(opt(slot), many0(label)).parse(input)
}

fn label(input: &str) -> Parsed<'_, (usize, &str)> {
    map(terminated(name, sign(":")), |label| (input.len(), label)).parse(input)
}

/// The text before `;`, `//` or a `#` after white space, none of them in quotes.
fn without_comment(text: &str) -> &str {
    let (mut quoted, mut escaped, mut previous) = (false, false, ' ');
    for (at, c) in text.char_indices() {
        let comment = match c {
            ';' => true,
            '/' => text[at..].starts_with("//"),
            '#' => previous.is_ascii_whitespace(),
            _ => false,
        };
        if comment && !quoted {
            return &text[..at];
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        previous = c;
    }
    text
}
