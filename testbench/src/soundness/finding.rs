//! What went wrong with a program, and in which class that falls.

use iom_core::generate::Candidate;
use iom_core::hex;
use serde_json::{Value, json};

use crate::commands::asm::map_json;

/// A program on which not all agree.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Seed that makes the program.
    pub seed: u64,
    /// What happened.
    pub kind: Kind,
    /// The program.
    pub candidate: Candidate,
}

/// What happened to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was accepted and trapped in the interpreter.
    Trap(String),
    /// It was accepted here but not by the kernel, which said this.
    OnlyHere(String),
    /// It was accepted by the kernel but refused here, for this.
    OnlyKernel(String),
}

impl Kind {
    /// The class: the same for programs that differ in numbers only.
    pub fn class(&self) -> String {
        match self {
            Self::Trap(text) => format!("accepted but traps: {}", without_numbers(text)),
            Self::OnlyHere(text) => {
                format!(
                    "accepted here, the kernel refuses: {}",
                    without_numbers(text)
                )
            }
            Self::OnlyKernel(text) => {
                format!(
                    "refused here, the kernel accepts: {}",
                    without_numbers(text)
                )
            }
        }
    }
}

impl Finding {
    /// The program as a vector, with what happened.
    pub fn to_vector(&self) -> Value {
        let maps = self.candidate.maps.iter().map(map_json);
        json!({
            "name": format!("seed {}", self.seed),
            "finding": self.kind.class(),
            "type": self.candidate.program_type.name(),
            "program": hex::encode(&self.candidate.bytes),
            "maps": maps.collect::<Vec<_>>(),
        })
    }
}

/// A text with `N` for each number.
fn without_numbers(text: &str) -> String {
    let hex = |character: char| character == 'x' || character.is_ascii_hexdigit();
    let mut class = String::new();
    let mut in_number = false;
    for character in text.chars() {
        let digit = character.is_ascii_digit() || in_number && hex(character);
        if digit && !in_number {
            class.push('N');
        } else if !digit {
            class.push(character);
        }
        in_number = digit;
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_no_numbers() {
        let class = |text: &str| Kind::OnlyHere(text.to_owned()).class();
        let one = class("R3 invalid access, off=-12 at 0x1f");
        assert_eq!(
            one,
            "accepted here, the kernel refuses: RN invalid access, off=-N at N"
        );
        assert_eq!(one, class("R10 invalid access, off=-7 at 0xabc"));
    }
}
