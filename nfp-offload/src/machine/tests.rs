//! What the machine does with single instructions, and with any at all.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::isa::{
    AddressMode, Alu, AluOp, Branch, Command, CommandOp, Condition, ContextSwap, Csr, Immed,
    ImmedShift, ImmedWidth, Insn, LmAccess, Mul, MulKind, MulStep, Operand, Shift, ShiftControl,
    ShiftOp, arbitrary, encode,
};
use crate::profile::FirmwareProfile;
use crate::ustore;

/// 16 bytes at address 0; helpers return 0.
#[derive(Default)]
struct SmallMemory([u8; 16]);

impl SmallMemory {
    fn place(&mut self, address: u64, len: usize) -> Result<&mut [u8], OutOfBounds> {
        let error = OutOfBounds { address, len };
        let start = usize::try_from(address).map_err(|_| error)?;
        self.0
            .get_mut(start..)
            .and_then(|bytes| bytes.get_mut(..len))
            .ok_or(error)
    }
}

impl Memory for SmallMemory {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        bytes.copy_from_slice(self.place(address, bytes.len())?);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        self.place(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn add(&mut self, address: u64, addend: u64, _: CounterWidth) -> Result<(), OutOfBounds> {
        let counter = self.place(address, 8)?;
        counter.copy_from_slice(&addend.to_le_bytes());
        Ok(())
    }
}

impl Firmware for SmallMemory {
    fn call(&mut self, _: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault> {
        call.key(&mut [0; 64]);
        call.value(&mut [0; 64]);
        let mut end = [0; 8];
        call.local_memory(u32::MAX - 3, &mut end);
        Ok(end.iter().map(|&byte| u64::from(byte)).sum())
    }

    fn random(&mut self) -> u32 {
        42
    }
}

#[test]
fn strict_mode_notes_what_a_card_might_not_forgive() {
    let early = [
        Insn::CsrWrite {
            csr: Csr::LmAddr3,
            src: Operand::A(22),
        },
        Insn::NOP,
        Insn::Alu(Alu {
            dst: Operand::A(0),
            left: NONE,
            op: crate::isa::AluOp::B,
            right: Operand::lm(3, 0),
        }),
        read_behind(64),
        branch(Condition::Always, 1, 0),
    ];
    let config = Config {
        strict: true,
        ..Config::default()
    };
    let program = load(&early).unwrap();
    let mut engine = MicroEngine::new(config);
    for _ in 0..2 {
        let mut memory = SmallMemory::default();
        engine.run(&program, &[0x5a; 60], &mut memory).unwrap();
    }
    let findings: Vec<String> = engine.findings().iter().map(Finding::to_string).collect();
    assert_eq!(
        findings,
        [
            "word 2: index register 3 is used 2 cycles before its new value is there",
            "word 3: a read of 8 bytes ends 8 bytes outside of the packet",
        ]
    );
}

/// A read of two words of the packet from this offset on.
fn read_behind(offset: u8) -> Insn {
    Insn::Command(Command {
        op: CommandOp::Read32Swap,
        xfer: 0,
        a: Operand::lm(1, 2),
        b: Operand::Imm(offset),
        mode: AddressMode::Bits32,
        count: 1,
        swap: ContextSwap::Now,
        indirect: false,
    })
}

const START: u16 = 3072;
const NONE: Operand = Operand::None;

fn load(insns: &[Insn]) -> Result<Program, MachineFault> {
    let words: Vec<u64> = insns
        .iter()
        .map(|insn| ustore::with_ecc(encode(insn).unwrap()))
        .collect();
    Program::load(&words, &FirmwareProfile::full())
}

fn run(config: Config, insns: &[Insn]) -> Result<Outcome, MachineFault> {
    let program = load(insns)?;
    MicroEngine::new(config).run(&program, &[0x5a; 60], &mut SmallMemory::default())
}

fn branch(condition: Condition, target: u16, defer: u8) -> Insn {
    Insn::Branch(Branch {
        condition,
        target,
        defer,
    })
}

fn done() -> Insn {
    branch(Condition::Always, 1, 0)
}

fn immed(dst: Operand, value: u16) -> Insn {
    Insn::Immed(Immed {
        dst,
        value,
        width: ImmedWidth::All,
        invert: false,
        shift: ImmedShift::By0,
    })
}

fn immed_inverted(dst: Operand, value: u16) -> Insn {
    Insn::Immed(Immed {
        dst,
        value,
        width: ImmedWidth::All,
        invert: true,
        shift: ImmedShift::By0,
    })
}

fn alu(dst: Operand, left: Operand, op: AluOp, right: Operand) -> Insn {
    Insn::Alu(Alu {
        dst,
        left,
        op,
        right,
    })
}

/// `dst = src`.
fn mov(dst: Operand, src: Operand) -> Insn {
    alu(dst, NONE, AluOp::B, src)
}

/// Value of A0 at the end of the instructions.
fn a0(insns: &[Insn]) -> u32 {
    a0_with(Config::default(), insns)
}

fn a0_with(config: Config, insns: &[Insn]) -> u32 {
    let insns = [insns, &[done()]].concat();
    run(config, &insns).unwrap().result.0
}

const A0: Operand = Operand::A(0);

#[test]
fn carry_survives_a_constant_load() {
    // 0xffff_ffff + 1 carries into the high word, across an `immed`.
    assert_eq!(
        a0(&[
            immed_inverted(Operand::A(2), 0),
            alu(NONE, Operand::A(2), AluOp::Add, Operand::Imm(1)),
            immed(Operand::A(4), 10),
            alu(A0, Operand::A(4), AluOp::AddCarry, Operand::Imm(0)),
        ]),
        11
    );
    // A difference without borrow sets the carry.
    assert_eq!(
        a0(&[
            immed(Operand::A(2), 3),
            alu(NONE, Operand::A(2), AluOp::Sub, Operand::Imm(4)),
            alu(A0, Operand::A(2), AluOp::SubCarry, Operand::Imm(0)),
        ]),
        2
    );
}

#[test]
fn signed_branches_see_the_overflow() {
    // -2^31 < 1, although the difference is positive.
    let min = Insn::Immed(Immed {
        dst: Operand::A(2),
        value: 0x8000,
        width: ImmedWidth::All,
        invert: false,
        shift: ImmedShift::By16,
    });
    assert_eq!(
        a0(&[
            min,
            immed(A0, 1),
            alu(NONE, Operand::A(2), AluOp::Sub, Operand::Imm(1)),
            branch(Condition::Less, START + 5, 0),
            immed(A0, 0),
        ]),
        1
    );
}

#[test]
fn defer_slots_run_and_cost_no_bubbles() {
    let program = |defer| {
        [
            branch(Condition::Always, START + 4, defer),
            immed(A0, 1),
            alu(A0, A0, AluOp::Add, Operand::Imm(1)),
            immed(A0, 9),
            done(),
        ]
    };
    let outcome = run(Config::default(), &program(2)).unwrap();
    assert_eq!(outcome.result.0, 2);
    assert_eq!(outcome.cost.instructions, 4);
    assert_eq!(outcome.cost.cycles, 4 + 2, "the exit has two bubbles");
    let outcome = run(Config::default(), &program(0)).unwrap();
    assert_eq!(outcome.cost.cycles, 2 + 2 + 2);
}

#[test]
fn an_index_write_takes_three_cycles() {
    // Word 1 of the stack holds 5, all others 0.
    let program = |nops: usize| {
        let mut insns = vec![
            immed(Operand::lm(0, 1), 5),
            alu(Operand::A(2), Operand::A(22), AluOp::Add, Operand::Imm(4)),
            Insn::CsrWrite {
                csr: Csr::LmAddr0,
                src: Operand::A(2),
            },
        ];
        insns.extend(vec![Insn::NOP; nops]);
        insns.push(mov(A0, Operand::lm(0, 0)));
        insns
    };
    for (nops, value) in [(0, 0), (2, 0), (3, 5), (4, 5)] {
        assert_eq!(a0(&program(nops)), value, "{nops} NOPs");
    }
}

#[test]
fn an_index_moves_once_an_instruction() {
    let next = Operand::Lm(0, LmAccess::Increment);
    assert_eq!(
        a0(&[
            immed(Operand::lm(0, 0), 7),
            immed(Operand::lm(0, 1), 8),
            alu(next, next, AluOp::Add, Operand::Imm(1)),
            mov(A0, Operand::lm(0, 0)),
        ]),
        8
    );
}

#[test]
fn indirect_double_shift_by_32() {
    let program = [
        immed(Operand::A(2), 3),
        immed(Operand::B(4), 5),
        immed(Operand::A(6), 32),
        alu(NONE, Operand::A(6), AluOp::Or, Operand::Imm(0)),
        Insn::Shift(Shift {
            dst: A0,
            left: Operand::A(2),
            op: ShiftOp::B,
            right: Operand::B(4),
            control: ShiftControl::Double,
            amount: 0,
        }),
    ];
    assert_eq!(a0(&program), 3);
    let five_bits = Config {
        double_shift: DoubleShift::FiveBits,
        ..Config::default()
    };
    assert_eq!(a0_with(five_bits, &program), 5);
}

#[test]
fn arithmetic_shift_takes_the_sign_of_the_previous_result() {
    let shift = |dst| {
        Insn::Shift(Shift {
            dst,
            left: NONE,
            op: ShiftOp::Ashr,
            right: Operand::B(2),
            control: ShiftControl::Right,
            amount: 4,
        })
    };
    assert_eq!(a0(&[immed(Operand::B(2), 0x80), shift(A0)]), 8);
    assert_eq!(
        a0(&[
            immed(Operand::B(2), 0x80),
            immed_inverted(NONE, 0),
            shift(A0)
        ]),
        0xf000_0008
    );
}

#[test]
fn multiplication() {
    let step = |kind, step, left, right| {
        Insn::Mul(Mul {
            kind,
            step,
            left,
            right,
        })
    };
    let (a, b) = (Operand::A(2), Operand::B(2));
    let factors = [immed_inverted(a, 0), immed_inverted(b, 1)];
    let product = |kind, last| {
        let mut insns = factors.to_vec();
        insns.push(step(MulKind::Start, MulStep::Step1, a, b));
        insns.push(step(kind, MulStep::Step1, a, b));
        insns.push(step(kind, last, A0, NONE));
        a0(&insns)
    };
    assert_eq!(product(MulKind::By32x32, MulStep::Last), 2);
    assert_eq!(product(MulKind::By32x32, MulStep::Last2), 0xffff_fffd);
    assert_eq!(product(MulKind::By16x16, MulStep::Last), 0xffff * 0xfffe);
}

fn command(op: CommandOp, count: u8, swap: ContextSwap, indirect: bool) -> Insn {
    Insn::Command(Command {
        op,
        xfer: 0,
        a: Operand::A(2),
        b: Operand::Imm(0),
        mode: AddressMode::Bits32,
        count,
        swap,
        indirect,
    })
}

/// A2 = address of the packet.
fn packet_pointer() -> Insn {
    mov(Operand::A(2), Operand::lm(1, 2))
}

/// Calls the map lookup; the return address is in B0.
fn helper_call() -> Insn {
    branch(Condition::Always, 1000, 0)
}

#[test]
fn helpers_return_to_b0() {
    assert_eq!(
        a0(&[
            immed(Operand::lm(0, 0), 0xaa),
            immed(Operand::A(2), 0x3fc),
            Insn::CsrWrite {
                csr: Csr::LmAddr0,
                src: Operand::A(2),
            },
            immed(Operand::B(0), START + 6),
            helper_call(),
            immed(A0, 1),
        ]),
        0
    );
}

#[test]
fn deferred_commands_take_data_from_their_slots() {
    let insns = [
        packet_pointer(),
        command(CommandOp::Write8Swap, 2, ContextSwap::Defer1, false),
        mov(Operand::Xfer(0), Operand::Imm(0x77)),
        command(CommandOp::Read32Swap, 0, ContextSwap::Now, false),
        mov(A0, Operand::Xfer(0)),
    ];
    assert_eq!(a0(&insns), 0x5a00_0077);
}

#[test]
fn the_previous_result_overrides_a_length() {
    let insns = |previous| {
        [
            packet_pointer(),
            immed(NONE, previous),
            command(CommandOp::Read8, 0, ContextSwap::Now, true),
            mov(A0, Operand::Xfer(0)),
        ]
    };
    assert_eq!(a0(&insns(0)), 0x5a00_0000);
    assert_eq!(a0(&insns(0x280)), 0x5a5a_5a00);
}

#[test]
fn a_csr_value_appears_in_the_next_immed() {
    assert_eq!(
        a0(&[
            Insn::CsrRead {
                csr: Csr::PseudoRandom
            },
            immed(A0, 0),
        ]),
        42
    );
}

#[test]
fn faults_are_typed() {
    let fault = |insns: &[Insn]| {
        let config = Config {
            budget: 1000,
            ..Config::default()
        };
        let MachineFault { word_index, kind } = run(config, insns).unwrap_err();
        (word_index, kind)
    };
    let endless = branch(Condition::Always, START, 0);
    assert_eq!(fault(&[endless]), (0, FaultKind::Budget { budget: 1000 }));
    assert_eq!(fault(&[Insn::NOP]), (1, FaultKind::End));
    assert_eq!(
        fault(&[Insn::NOP, branch(Condition::Always, 2000, 0)]),
        (1, FaultKind::BranchTarget { address: 2000 })
    );
    assert_eq!(
        fault(&[branch(Condition::Always, 1, 1), done()]),
        (0, FaultKind::DeferSlot)
    );
    assert!(matches!(
        fault(&[
            immed(Operand::A(2), 0),
            command(CommandOp::Read8, 0, ContextSwap::Now, false)
        ]),
        (
            1,
            FaultKind::OutOfBounds(OutOfBounds { address: 0, len: 1 })
        )
    ));
    assert!(matches!(
        fault(&[Insn::NOP, Insn::CtxArb { bits: 0 }]),
        (1, FaultKind::NotModelled { .. })
    ));
}

#[test]
fn bad_words_are_refused() {
    let load = |word| {
        Program::load(&[word], &FirmwareProfile::full())
            .unwrap_err()
            .kind
    };
    assert!(matches!(load(1 << 60), FaultKind::Ustore(_)));
    assert!(matches!(load(ustore::with_ecc(1)), FaultKind::Decode(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_word_loads_or_is_refused(words in vec(any::<u64>(), 0..8)) {
        let _ = Program::load(&words, &FirmwareProfile::full());
        let valid: Vec<u64> = words.iter().copied().map(ustore::with_ecc).collect();
        let _ = Program::load(&valid, &FirmwareProfile::full());
    }

    #[test]
    fn any_program_ends(insns in vec(arbitrary::insn(START), 1..64), frame in vec(any::<u8>(), 0..80)) {
        let insns: Vec<Insn> = insns
            .into_iter()
            .map(|insn| if load(&[insn]).is_ok() { insn } else { helper_call() })
            .collect();
        let config = Config { budget: 500, ..Config::default() };
        let program = load(&insns).unwrap();
        let mut engine = MicroEngine::new(config);
        let mut memory = SmallMemory::default();
        let first = engine.run(&program, &frame, &mut memory);
        let packet = engine.packet().to_vec();
        let mut memory = SmallMemory::default();
        prop_assert_eq!(engine.run(&program, &frame, &mut memory), first);
        prop_assert_eq!(engine.packet(), &packet);
    }
}
