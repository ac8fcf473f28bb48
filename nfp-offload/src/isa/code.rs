//! Operation codes: each enum is a table of code and assembler symbol (kernel `nfp_asm.h`).

macro_rules! codes {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident {
            $( $(#[doc = $vdoc:literal])* $variant:ident = $code:literal $symbol:literal, )*
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $vdoc])* $variant, )*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value in the word.
            pub const fn code(self) -> u64 {
                match self {
                    $( Self::$variant => $code, )*
                }
            }

            /// The operation with this code.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// How the listing writes it.
            pub const fn symbol(self) -> &'static str {
                match self {
                    $( Self::$variant => $symbol, )*
                }
            }
        }
    )*};
}

codes! {
    /// Operation of `alu`.
    AluOp {
        /// The right operand.
        B = 0x00 "B",
        /// Sum.
        Add = 0x01 "+",
        /// Inverted right operand.
        NotB = 0x04 "~B",
        /// Left operand plus the low 16 bits of the right one.
        Add16 = 0x05 "+16",
        /// And.
        And = 0x08 "AND",
        /// Inverted left operand and right operand.
        NotAAnd = 0x0c "~AND",
        /// Difference with borrow from the carry flag.
        SubCarry = 0x0d "-carry",
        /// Left operand and inverted right operand.
        AndNotB = 0x10 "AND~",
        /// Sum with the carry flag.
        AddCarry = 0x11 "+carry",
        /// Or.
        Or = 0x14 "OR",
        /// Difference.
        Sub = 0x15 "-",
        /// Exclusive or.
        Xor = 0x18 "XOR",
    }
    /// What `alu_shf` does with the shifted right operand.
    ShiftOp {
        /// Takes it as it is.
        B = 0 "B",
        /// And with the left operand.
        And = 2 "AND",
        /// Or with the left operand.
        Or = 5 "OR",
        /// Arithmetic shift, sign from the previous result.
        Ashr = 6 "ASHR",
    }
    /// Shift direction.
    ShiftControl {
        /// Rotation to the right; by 0 is no shift.
        Rotate = 0 ">>rot",
        /// To the right.
        Right = 1 ">>",
        /// To the left.
        Left = 2 "<<",
        /// The left:right pair to the right.
        Double = 3 ">>",
    }
    /// Part of the destination that `immed` writes.
    ImmedWidth {
        /// All 32 bits.
        All = 0 "immed",
        /// One byte.
        Byte = 1 "immed_b",
        /// One half; the other stays.
        Word = 2 "immed_w",
    }
    /// Where `immed` puts its 16 bits.
    ImmedShift {
        /// Bits 15:0.
        By0 = 0 "<<0",
        /// Bits 23:8.
        By8 = 1 "<<8",
        /// Bits 31:16.
        By16 = 2 "<<16",
    }
    /// Branch condition.
    Condition {
        /// Zero.
        Equal = 0 "beq",
        /// Not zero.
        NotEqual = 1 "bne",
        /// Negative.
        Minus = 2 "bmi",
        /// Carry: unsigned greater or equal.
        HigherSame = 4 "bhs",
        /// No carry: unsigned less.
        Lower = 5 "blo",
        /// Signed greater or equal.
        GreaterEqual = 8 "bge",
        /// Signed less.
        Less = 9 "blt",
        /// Always.
        Always = 0x18 "br",
    }
    /// Kind of a multiplication step.
    MulKind {
        /// Takes the operands.
        Start = 0 "start",
        /// 24 by 8 bits.
        By24x8 = 1 "24x8",
        /// 16 by 16 bits.
        By16x16 = 2 "16x16",
        /// 32 by 32 bits.
        By32x32 = 3 "32x32",
    }
    /// Number of a multiplication step.
    MulStep {
        /// First step; a start has this code too.
        Step1 = 0 "step1",
        /// Second step.
        Step2 = 1 "step2",
        /// Third step.
        Step3 = 2 "step3",
        /// Fourth step.
        Step4 = 3 "step4",
        /// Stores the low word of the product.
        Last = 4 "last",
        /// Stores the high word of the product.
        Last2 = 5 "last2",
    }
    /// When a command gives the micro-engine to another ME context.
    ContextSwap {
        /// At once.
        Now = 0 "ctx_swap[sig1]",
        /// After the next word.
        Defer1 = 1 "ctx_swap[sig1], defer[1]",
        /// After the next two words.
        Defer2 = 2 "ctx_swap[sig1], defer[2]",
        /// Not at all.
        Never = 3 "no_signals",
    }
    /// How the two address operands of a command make an address.
    AddressMode {
        /// 40 bits: A shifted left by 8, plus B.
        Bits40Ab = 0 "40_ab",
        /// 40 bits: B shifted left by 8, plus A.
        Bits40Ba = 1 "40_ba",
        /// 32 bits: A plus B.
        Bits32 = 4 "32",
    }
    /// Memory command: the code is the token, then the 7-bit target command.
    CommandOp {
        /// Add a register to memory.
        Add = 0x047 "add",
        /// Reads words.
        Read32 = 0x05c "read32",
        /// Reads units of the target's own width, little-endian.
        ReadLe = 0x0c0 "read_le",
        /// Reads bytes, first byte in the highest bits.
        Read8 = 0x0c3 "read8",
        /// Reads words, little-endian.
        Read32Le = 0x0dc "read32_le",
        /// Writes bytes, first byte from the lowest bits.
        Write8Swap = 0x142 "write8_swap",
        /// Adds data that the command itself carries.
        AddImm = 0x147 "add_imm",
        /// Reads words, first byte in the lowest bits.
        Read32Swap = 0x15c "read32_swap",
        /// Writes words, first byte from the lowest bits.
        Write32Swap = 0x15f "write32_swap",
        /// Reads units of the target's own width, swapped, little-endian.
        ReadSwapLe = 0x1c0 "read_swap_le",
    }
    /// Control and status register; the code is its byte address.
    Csr {
        /// ME context pointer.
        ContextPointer = 0x020 "CtxPtr",
        /// Local-memory index 0.
        LmAddr0 = 0x064 "ActLMAddr0",
        /// Local-memory index 1.
        LmAddr1 = 0x06c "ActLMAddr1",
        /// Local-memory index 2.
        LmAddr2 = 0x094 "ActLMAddr2",
        /// Local-memory index 3.
        LmAddr3 = 0x09c "ActLMAddr3",
        /// Pseudo-random number.
        PseudoRandom = 0x148 "PseudoRndNum",
    }
}

impl AluOp {
    /// Whether the left operand counts.
    pub const fn uses_left(self) -> bool {
        !matches!(self, Self::B | Self::NotB)
    }
}

impl MulStep {
    /// Whether this step stores a part of the product: its left operand is the destination.
    pub const fn stores(self) -> bool {
        matches!(self, Self::Last | Self::Last2)
    }
}

impl Csr {
    /// The CSR of a local-memory index, 0 to 3.
    pub const fn lm_addr(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::LmAddr0),
            1 => Some(Self::LmAddr1),
            2 => Some(Self::LmAddr2),
            3 => Some(Self::LmAddr3),
            _ => None,
        }
    }

    /// The local-memory index that this CSR holds, if it is one.
    pub const fn lm_index(self) -> Option<u8> {
        match self {
            Self::LmAddr0 => Some(0),
            Self::LmAddr1 => Some(1),
            Self::LmAddr2 => Some(2),
            Self::LmAddr3 => Some(3),
            Self::ContextPointer | Self::PseudoRandom => None,
        }
    }
}
