//! The instruction-word table: one row a form, with its class bits, its fixed bits and its bit
//! fields (kernel `nfp_asm.h`). A table in which two fields of a form share a bit, or in which a
//! word could belong to two forms, does not build.

/// Bits `low` to `low + width - 1` of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name in the table.
    pub name: &'static str,
    /// The lowest bit.
    pub low: u32,
    /// How many bits.
    pub width: u32,
}

impl Field {
    const fn new(name: &'static str, high: u32, low: u32) -> Self {
        assert!(low <= high && high < 45);
        Self {
            name,
            low,
            width: high - low + 1,
        }
    }

    /// The field's bits in a word.
    pub const fn mask(self) -> u64 {
        ((1 << self.width) - 1) << self.low
    }

    /// The field's value in `word`.
    pub const fn get(self, word: u64) -> u64 {
        (word & self.mask()) >> self.low
    }

    /// `value` at the field's place. Bits that do not fit are dropped.
    pub const fn put(self, value: u64) -> u64 {
        (value << self.low) & self.mask()
    }
}

/// One form of instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The form's name.
    pub name: &'static str,
    /// Bits that tell this form from the others.
    pub class: u64,
    /// Values of the class bits and of all other fixed bits.
    pub base: u64,
    /// Every other bit that can be set.
    pub fields: &'static [Field],
}

impl Form {
    /// Whether `word` has this form's class bits.
    pub const fn matches(&self, word: u64) -> bool {
        word & self.class == self.base & self.class
    }

    const fn is_disjoint(&self) -> bool {
        let mut used = self.class | self.base;
        let mut index = 0;
        while index < self.fields.len() {
            let mask = self.fields[index].mask();
            if used & mask != 0 {
                return false;
            }
            used |= mask;
            index += 1;
        }
        true
    }
}

const fn forms_exclude_each_other(forms: &[Form]) -> bool {
    let mut first = 0;
    while first < forms.len() {
        let mut second = first + 1;
        while second < forms.len() {
            let (a, b) = (&forms[first], &forms[second]);
            if (a.base ^ b.base) & a.class & b.class == 0 {
                return false;
            }
            second += 1;
        }
        first += 1;
    }
    true
}

macro_rules! forms {
    ($(
        $(#[doc = $doc:literal])*
        $form:ident: class $class:literal, base $base:literal {
            $( $field:ident $high:literal : $low:literal ),* $(,)?
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[allow(missing_docs, reason = "a field is described by its row")]
            pub mod $form {
                use super::{Field, Form};
                $( pub const $field: Field = Field::new(stringify!($field), $high, $low); )*
                /// The form's row.
                pub const FORM: Form = Form {
                    name: stringify!($form),
                    class: $class,
                    base: $base,
                    fields: &[$($field),*],
                };
                const _: () = assert!(FORM.is_disjoint(), "two fields share a bit");
            }
        )*
        /// Every form.
        pub const FORMS: &[Form] = &[$($form::FORM),*];
        const _: () = assert!(forms_exclude_each_other(FORMS), "a word could have two forms");
    };
}

forms! {
    /// Memory command.
    cmd: class 0x080_0000_0000, base 0 {
        A 7:0, CTX 9:8, B 17:10, TOKEN 19:18, XFER 24:20, CNT 27:25, SIG 31:28, TGT_CMD 38:32,
        INDIR 41:41, MODE 44:42,
    }
    /// Shift, with an optional logic operation.
    shf: class 0x0e0_0000_0000, base 0x080_0000_0000 {
        A 7:0, SC 9:8, B 17:10, I8 18:18, SW 19:19, DST 27:20, SHIFT 32:28, OP 35:33,
        DST_AB 36:36, WR_AB 41:41, SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// Arithmetic and logic.
    alu: class 0x0e0_0000_0000, base 0x0a0_0000_0000 {
        A 9:0, B 19:10, DST 29:20, SW 30:30, OP 35:31, DST_AB 36:36, WR_AB 41:41,
        SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// Byte-masked move; the destination is the left source.
    ld_field: class 0x0f8_0000_0000, base 0x0c0_0000_0000 {
        A 7:0, SC 9:8, B 17:10, I8 18:18, SW 19:19, ZF 20:20, BMASK 27:24, SHF 32:28,
        WR_AB 41:41, SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// Branch on a byte: known, never emitted.
    br_byte: class 0x0f8_0000_0000, base 0x0c8_0000_0000 {
        LOW 34:0, HIGH 44:40,
    }
    /// Branch on a bit.
    br_bit: class 0x0f8_0000_0000, base 0x0d0_0000_0000 {
        A 7:0, B 17:10, BV 18:18, DEFBR 21:20, ADDR_LO 34:22, ADDR_HI 40:40, SRC_LMEXTN 42:42,
    }
    /// Branch on condition codes; bits 17:14 (the condition code set) are always 2.
    br: class 0x0f8_0000_0000, base 0x0d8_0000_8020 {
        MASK 4:0, EV_PIP 9:8, DEFBR 21:20, ADDR_LO 34:22, ADDR_HI 40:40,
    }
    /// Context arbitration: known, never emitted.
    ctx_arb: class 0x0f8_0000_0000, base 0x0e0_0000_0000 {
        LOW 34:0, HIGH 44:40,
    }
    /// Branch to an address in a register (`rtn`).
    br_alu: class 0x0f8_0000_0000, base 0x0e8_0000_0000 {
        A 9:0, B 19:10, DEFBR 21:20, IMM_HI 30:22, SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// Constant load.
    immed: class 0x0f8_0000_0000, base 0x0f0_0000_0000 {
        A 9:0, B 19:10, IMM_HI 27:20, WIDTH 30:29, INV 31:31, SHIFT 34:33, WR_AB 41:41,
        SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// One step of a multiplication.
    mul: class 0x0fc_0000_0000, base 0x0f8_0000_0000 {
        A 9:0, B 19:10, STEP 22:20, DST_AB 23:23, SW 30:30, TYPE 32:31, WR_AB 41:41,
        SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
    /// Access to a local CSR.
    lcsr: class 0x0fc_0000_0000, base 0x0fc_0000_0000 {
        A 9:0, B 19:10, WRITE 21:21, ADDR 32:22, SRC_LMEXTN 42:42, DST_LMEXTN 43:43,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_form() {
        for class in 0..64 {
            let word = class << 34;
            assert_eq!(FORMS.iter().filter(|form| form.matches(word)).count(), 1);
        }
    }

    #[test]
    fn overlap_is_seen() {
        const BAD: Form = Form {
            name: "bad",
            class: 0xf0,
            base: 0x10,
            fields: &[Field::new("A", 3, 0), Field::new("B", 9, 3)],
        };
        assert!(!BAD.is_disjoint());
        assert!(!forms_exclude_each_other(&[alu::FORM, alu::FORM]));
    }
}
