//! The interpreter through the IO-module ABI: programs as assembly, what they leave behind.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;

use expect_test::{Expect, expect};
use iom_backends::interpreter::{Interpreter, Observe, Trace};
use iom_core::abi::{
    Backend, BackendError, Environment, Frame, LoadRequest, Network, Outcome, QueueId, Recorder,
    RedirectKind, Refusal,
};
use iom_core::helper;
use iom_core::isa::{
    AluOp, AtomicOp, CallTarget, Condition, Insn, Operand, Reg, Size, Width, assemble,
};
use iom_core::map::{MapContents, MapSet, MapValue};
use iom_core::module::{Function, Module, Program, ProgramType};
use proptest::prelude::*;
use proptest::sample::select;

/// What a run leaves behind.
struct Done {
    outcomes: Vec<Outcome>,
    frames: Vec<Frame>,
    recorder: Recorder,
    maps: Vec<MapContents>,
}

impl Done {
    fn retval(&self) -> u32 {
        assert_eq!(self.outcomes[0].trap, None);
        self.outcomes[0].retval
    }
}

/// Sixty-four bytes that tell their place.
fn packet() -> Vec<u8> {
    (0..64).collect()
}

fn run_module(
    interpreter: &Interpreter,
    module: Module,
    packets: &[Vec<u8>],
) -> Result<Done, BackendError> {
    let maps = MapSet::create(&module.maps, 2).expect("maps");
    let module = Arc::new(module);
    let instance = interpreter.load(&LoadRequest {
        module: &module,
        entry: 0,
        maps: &maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 4,
        queues: 2,
    })?;
    let mut frames: Vec<_> = packets
        .iter()
        .zip(0..)
        .map(|(packet, packet_id)| {
            let mut frame = Frame::new();
            frame.set_packet(packet).expect("a packet that fits");
            frame.packet_id = packet_id;
            frame.receive.ingress_ifindex = 3;
            frame.receive.queue = 1;
            frame.ktime_ns = 1_000_000_000_000 + packet_id;
            frame
        })
        .collect();
    let mut outcomes = Vec::new();
    let mut recorder = Recorder::default();
    let mut worker = instance.worker(QueueId(1))?;
    worker.run(&mut frames, &mut outcomes, Some(&mut recorder))?;
    Ok(Done {
        outcomes,
        frames,
        recorder,
        maps: instance.maps()?,
    })
}

fn run_packets(text: &str, packets: &[Vec<u8>]) -> Done {
    let module = assemble(text, "test.bpf").expect("valid assembly");
    run_module(&Interpreter::default(), module, packets).expect("a program that runs")
}

fn run(text: &str) -> Done {
    run_packets(text, &[packet()])
}

/// The fault of a program, in words.
fn check_trap(text: &str, expected: &Expect) {
    let done = run(text);
    let trap = done.outcomes[0].trap.as_ref().expect("a fault");
    assert_eq!(done.outcomes[0].retval, 0);
    expected.assert_eq(&format!("{}: {}", trap.insn, trap.kind));
}

fn check_refused(text: &str, expected: &Expect) {
    let module = assemble(text, "test.bpf").expect("valid assembly");
    let Err(BackendError::Refused { reasons, .. }) =
        run_module(&Interpreter::default(), module, &[packet()])
    else {
        panic!("the program must be refused");
    };
    let line = |reason: &Refusal| format!("{:?}: {}", reason.insn, reason.message);
    let lines: Vec<_> = reasons.iter().map(line).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn the_context_gives_pointers_and_receive_fields() {
    let done = run("
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r3 -= r2
        r4 = *(u32 *)(r1 + 12)
        r4 <<= 8
        r5 = *(u32 *)(r1 + 16)
        r5 <<= 16
        r0 = *(u8 *)(r2 + 63)
        r0 <<= 24
        r0 |= r3
        r0 |= r4
        r0 |= r5
        exit");
    assert_eq!(done.retval(), 0x3f01_0340);
}

#[test]
fn faults_say_what_and_where() {
    check_trap(
        "r2 = *(u32 *)(r1 + 0)\n r0 = *(u32 *)(r2 + 61)\n exit",
        &expect![[
            r#"1: read of 4 bytes at offset 317 is outside the packet (metadata at 256, data at 256 to 320)"#
        ]],
    );
    check_trap(
        "r0 = *(u8 *)(r10 - 513)\n exit",
        &expect![[
            r#"0: read of 1 bytes at offset -1 is outside the stack of frame 0 (512 bytes)"#
        ]],
    );
    check_trap(
        "*(u8 *)(r10 + 0) = 1\n exit",
        &expect![[
            r#"0: write of 1 bytes at offset 512 is outside the stack of frame 0 (512 bytes)"#
        ]],
    );
    check_trap(
        "*(u32 *)(r1 + 0) = 1\n exit",
        &expect![[r#"0: write of 4 bytes at offset 0 of the context is not allowed"#]],
    );
    check_trap(
        "r0 = *(u32 *)(r1 + 24)\n exit",
        &expect![[r#"0: read of 4 bytes at offset 24 of the context is not allowed"#]],
    );
    check_trap(
        "r1 = 7\n r0 = *(u64 *)(r1 + 0)\n exit",
        &expect![[r#"1: read of 8 bytes at 0x7, where there is no memory"#]],
    );
    check_trap(
        "*(u64 *)(r10 - 8) = 0\n lock *(u64 *)(r10 - 12) += r1\n exit",
        &expect![[
            r#"1: atomic operation of 8 bytes at offset 500 of the stack of frame 0 (512 bytes) is not aligned"#
        ]],
    );
    check_trap("r10 = 1\n exit", &expect![[r#"0: r10 is read-only"#]]);
    check_trap(
        "r0 = 0",
        &expect![[
            r#"1: execution ran past the end of the program or into the second half of a wide load"#
        ]],
    );
    check_trap(
        ".map m array key 4 value 8 max 4
        r1 = 1
        r2 = 0
        call map_lookup_elem
        exit",
        &expect![[r#"2: bpf_map_lookup_elem: argument 1 is 0x1, not a map"#]],
    );
}

#[test]
fn map_values_end_where_they_end() {
    check_trap(
        ".map m array key 4 value 8 max 4
        *(u32 *)(r10 - 4) = 1
        r2 = r10
        r2 += -4
        r1 = map[m] ll
        call map_lookup_elem
        r0 = *(u64 *)(r0 + 1)
        exit",
        &expect![[r#"6: read of 8 bytes at offset 1 is outside a value of map m (8 bytes)"#]],
    );
    check_trap(
        ".map m array key 4 value 8 max 1 flags rdonly_prog data
        r1 = map[m] + 4 ll
        *(u32 *)(r1 + 0) = 1
        exit",
        &expect![[
            r#"2: write of 4 bytes at offset 4 of a value of map m (8 bytes) is not allowed"#
        ]],
    );
}

#[test]
fn what_cannot_run_is_refused_with_every_reason() {
    check_refused(
        "call redirect_peer\n call clone_redirect\n call 500\n call skb_load_bytes\n exit",
        &expect![[r#"
            Some(0): helper bpf_redirect_peer (155) is not supported
            Some(1): helper bpf_clone_redirect (13) is not supported
            Some(2): there is no helper 500
            Some(3): Xdp programs cannot call bpf_skb_load_bytes"#]],
    );
    check_refused(
        ".license \"Proprietary\"\n call trace_printk\n r0 = *(u8 *)skb[0]\n exit",
        &expect![[r#"
            Some(0): bpf_trace_printk is for programs with a GPL-compatible licence
            Some(1): legacy packet loads are for socket filters and tc"#]],
    );
    check_refused(
        "goto +5\n call kfunc#7\n r1 = variable#9 ll\n exit",
        &expect![[r#"
            Some(0): jump out of the program
            Some(1): kernel function 7 has no name here: each kernel numbers them anew
            Some(2): kernel variable 9 is not here"#]],
    );
}

#[test]
fn functions_keep_their_callers_registers_and_stack() {
    let done = run("
        r6 = 6
        r9 = 9
        *(u64 *)(r10 - 8) = 100
        r1 = r10
        r1 += -8
        call add
        r0 += r6
        r0 += r9
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
    add:
        r6 = 1000
        r9 = 1000
        *(u64 *)(r10 - 8) = 7
        r2 = *(u64 *)(r1 + 0)
        r2 += 1
        *(u64 *)(r1 + 0) = r2
        r0 = r2
        exit");
    assert_eq!(done.retval(), 101 + 6 + 9 + 101);
}

#[test]
fn eight_frames_and_no_more() {
    let text = |depth: u32| {
        format!(
            "r1 = {depth}\n call down\n exit
            down: r0 = 1\n if r1 == 0 goto out\n r1 += -1\n call down\n out: exit"
        )
    };
    assert_eq!(run(&text(6)).retval(), 1);
    check_trap(
        &text(7),
        &expect![[r#"6: the call stack is more than 8 frames deep"#]],
    );
}

#[test]
fn a_callee_cannot_reach_a_stack_that_is_gone() {
    check_trap(
        "call leak\n r0 = *(u64 *)(r0 - 8)\n exit\n leak: *(u64 *)(r10 - 8) = 1\n r0 = r10\n exit",
        &expect![[
            r#"1: read of 8 bytes at offset 504 is outside the stack of frame 1 (512 bytes)"#
        ]],
    );
}

#[test]
fn endless_programs_stop() {
    let module = assemble("top: goto top", "test.bpf").expect("valid assembly");
    let interpreter = Interpreter {
        budget: 1000,
        ..Interpreter::default()
    };
    let done = run_module(&interpreter, module, &[packet()]).expect("a program that runs");
    let trap = done.outcomes[0].trap.as_ref().expect("a fault");
    assert_eq!(trap.kind.to_string(), "more than 1000 instructions");
    assert_eq!(
        run("top: may_goto out\n goto top\n out: r0 = 2\n exit").retval(),
        2
    );
}

#[test]
fn thirty_three_tail_calls_then_it_falls_through() {
    let done = run("
        .map calls array key 4 value 8 max 1 data
        .map programs prog_array key 4 value 4 max 2
        .entry 00000000 = program again
        .program again xdp
        r2 = map[calls] + 0 ll
        r3 = 1
        lock *(u64 *)(r2 + 0) += r3
        r6 = r2
        r2 = map[programs] ll
        r3 = 0
        call tail_call
        r0 = *(u64 *)(r6 + 0)
        exit");
    assert_eq!(done.retval(), 34);
}

#[test]
fn a_tail_call_to_an_empty_slot_goes_on() {
    let done = run("
        .map programs prog_array key 4 value 4 max 2
        .entry 01000000 = program other
        .program first xdp
        r6 = r1
        r2 = map[programs] ll
        r3 = 0
        call tail_call
        r1 = r6
        r2 = map[programs] ll
        r3 = 9
        call tail_call
        r1 = r6
        r2 = map[programs] ll
        r3 = 1
        call tail_call
        r0 = 1
        exit
        .program other xdp
        r0 = *(u32 *)(r1 + 12)
        exit");
    assert_eq!(done.retval(), 3);
}

#[test]
fn maps_are_read_written_and_emptied() {
    let done = run("
        .map m hash key 4 value 8 max 4
        *(u32 *)(r10 - 4) = 7
        *(u64 *)(r10 - 16) = 42
        r1 = map[m] ll
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 2
        call map_update_elem        ; EXIST on an empty map: -ENOENT
        r6 = r0
        r1 = map[m] ll
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call map_update_elem
        r1 = map[m] ll
        r2 = r10
        r2 += -4
        call map_lookup_elem
        if r0 == 0 goto out
        r1 = *(u64 *)(r0 + 0)
        r1 += 1
        *(u64 *)(r0 + 0) = r1
        *(u32 *)(r10 - 4) = 8
        r1 = map[m] ll
        r2 = r10
        r2 += -4
        call map_delete_elem
        r0 += r6
    out:
        exit");
    assert_eq!(done.retval() as i32, -4);
    let entries: Vec<_> = done.maps[0]
        .entries
        .iter()
        .map(|entry| (&*entry.key, &entry.value))
        .collect();
    let value = MapValue::Plain(43_u64.to_le_bytes().to_vec());
    assert_eq!(entries, [([7, 0, 0, 0].as_slice(), &value)]);
}

#[test]
fn redirects_take_the_target_that_stands() {
    let done = run("
        .map ports devmap key 4 value 4 max 4
        .entry 02000000 = 05000000
        r1 = 9
        r2 = 0
        call redirect
        r1 = map[ports] ll
        r2 = 2
        r3 = 0
        call redirect_map
        exit");
    assert_eq!(done.retval(), 4);
    let redirect = done.outcomes[0].redirect.expect("a target");
    assert_eq!(redirect.kind, RedirectKind::Devmap);
    assert_eq!(
        (redirect.map, redirect.key, redirect.target),
        (Some(0), Some(2), Some(5))
    );
    let miss = run("
        .map ports devmap key 4 value 4 max 4
        r1 = map[ports] ll
        r2 = 2
        r3 = 1
        call redirect_map
        exit");
    assert_eq!((miss.retval(), miss.outcomes[0].redirect), (1, None));
}

#[test]
fn packets_change_size_and_place() {
    let done = run("
        r6 = r1
        r2 = -8
        call xdp_adjust_head
        r1 = r6
        r2 = -4
        call xdp_adjust_meta
        r2 = *(u32 *)(r6 + 8)
        *(u32 *)(r2 + 0) = 0x04030201
        r2 = *(u32 *)(r6 + 0)
        *(u64 *)(r2 + 0) = 0
        r1 = r6
        r2 = -2
        call xdp_adjust_tail
        *(u16 *)(r10 - 2) = 0xbbaa
        r1 = r6
        r2 = 68
        r3 = r10
        r3 += -2
        r4 = 2
        call xdp_store_bytes
        r1 = r6
        call xdp_get_buff_len
        exit");
    assert_eq!(done.retval(), 70);
    let mut expected = [vec![0; 8], packet()].concat();
    expected.truncate(70);
    expected[68..].copy_from_slice(&[0xaa, 0xbb]);
    assert_eq!(done.frames[0].packet(), expected);
    assert_eq!(done.frames[0].metadata(), [1, 2, 3, 4]);
}

#[test]
fn time_random_and_cpu_come_from_the_environment() {
    let text = "
        call ktime_get_ns
        r6 = r0
        call get_smp_processor_id
        r6 += r0
        call get_prandom_u32
        r7 = r0
        call get_prandom_u32
        r0 ^= r7
        r0 += r6
        exit";
    let done = run_packets(text, &[packet(), packet()]);
    let value = |id| {
        let mut random = Environment::default().random(id);
        let mixed = u64::from(random.next_u32() ^ random.next_u32());
        (1_000_000_000_000 + id + 1 + mixed) as u32
    };
    let retvals: Vec<_> = done.outcomes.iter().map(|outcome| outcome.retval).collect();
    assert_eq!(retvals, [value(0), value(1)]);
}

#[test]
fn ring_buffers_are_drained_after_each_packet() {
    let done = run_packets(
        "
        .map events ringbuf key 0 value 0 max 4096
        r6 = *(u32 *)(r1 + 0)
        r1 = map[events] ll
        r2 = 16
        r3 = 0
        call ringbuf_reserve
        if r0 == 0 goto out
        r1 = *(u64 *)(r6 + 0)
        *(u64 *)(r0 + 0) = r1
        *(u64 *)(r0 + 8) = 5
        r1 = r0
        r2 = 0
        call ringbuf_submit
        *(u32 *)(r10 - 4) = 6
        r1 = map[events] ll
        r2 = r10
        r2 += -4
        r3 = 4
        r4 = 0
        call ringbuf_output
    out:
        exit",
        &[packet(), vec![9; 20]],
    );
    let events: Vec<_> = done
        .recorder
        .events
        .iter()
        .map(|event| (event.packet_id, event.map, event.bytes.as_slice()))
        .collect();
    let first = [0, 1, 2, 3, 4, 5, 6, 7, 5, 0, 0, 0, 0, 0, 0, 0];
    let second = [9, 9, 9, 9, 9, 9, 9, 9, 5, 0, 0, 0, 0, 0, 0, 0];
    let small = [6, 0, 0, 0];
    assert_eq!(
        events,
        [
            (0, 0, first.as_slice()),
            (0, 0, &small),
            (1, 0, &second),
            (1, 0, &small)
        ]
    );
}

#[test]
fn a_record_that_is_kept_is_a_fault() {
    check_trap(
        ".map events ringbuf key 0 value 0 max 4096
        r1 = map[events] ll
        r2 = 8
        r3 = 0
        call ringbuf_reserve
        exit",
        &expect![[r#"5: 1 ring-buffer records were neither submitted nor discarded"#]],
    );
    check_trap(
        ".map events ringbuf key 0 value 0 max 4096
        r1 = map[events] ll
        r2 = 8
        r3 = 0
        call ringbuf_reserve
        r6 = r0
        r1 = r0
        r2 = 0
        call ringbuf_discard
        r0 = *(u64 *)(r6 + 0)
        exit",
        &expect![[
            r#"9: read of 8 bytes at offset 0 is outside a ring-buffer record that was given up"#
        ]],
    );
}

#[test]
fn printed_lines_are_kept() {
    let done = run("
        .license \"GPL\"
        r1 = 0x000a692564253d78 ll      ; `x=%d%i` and a line break
        *(u64 *)(r10 - 8) = r1
        r1 = r10
        r1 += -8
        r2 = 8
        r3 = -3
        r4 = 12
        call trace_printk
        exit");
    assert_eq!(done.retval(), 7);
    assert_eq!(done.recorder.printk, [(0, "x=-312\n".to_owned())]);
}

#[test]
fn a_trace_shows_what_one_packet_did() {
    let text = "
        .map m array key 4 value 8 max 4
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u8 *)(r2 + 12)
        *(u32 *)(r10 - 4) = r3
        call function
        exit
    function:
        r0 = 2
        exit";
    let module = assemble(text, "test.bpf").expect("valid assembly");
    let trace = Trace::of_packet(1);
    let interpreter = Interpreter {
        observe: Observe::Trace(trace.clone()),
        ..Interpreter::default()
    };
    run_module(&interpreter, module.clone(), &[packet(), packet()]).expect("a program that runs");
    expect![[r#"
        ; test.bpf:3: r2 = *(u32 *)(r1 + 0)
            0: r2 = *(u32 *)(r1 + 0)                    r2=packet+0, read 4 at context+0
        ; test.bpf:4: r3 = *(u8 *)(r2 + 12)
            1: r3 = *(u8 *)(r2 + 12)                    r3=0xc, read 1 at packet+12
        ; test.bpf:5: *(u32 *)(r10 - 4) = r3
            2: *(u32 *)(r10 - 4) = r3                   write 4 at stack of frame 0-4 <- 0xc
        ; test.bpf:6: call function
            3: call function                            r10=fp1+0
          ; test.bpf:9: r0 = 2
              5: r0 = 2                                   r0=2
          ; test.bpf:10: exit
              6: exit                                     r10=fp0+0
        ; test.bpf:7: exit
            4: exit
        ; returns 2 (pass)
    "#]]
    .assert_eq(&trace.text(&module).expect("the packet ran"));
}

/// Any instruction but wide loads, with registers and offsets that often meet memory.
fn any_insn() -> impl Strategy<Value = Insn> {
    let reg = || (0_u8..=10).prop_map(|number| Reg::new(number).expect("a register"));
    let size = || select(vec![Size::B, Size::H, Size::W, Size::DW]);
    let width = || select(vec![Width::W32, Width::W64]);
    let operand = || {
        prop_oneof![
            reg().prop_map(Operand::Reg),
            (-300..300).prop_map(Operand::Imm)
        ]
    };
    let alu = select(vec![
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::SignedDiv,
        AluOp::Mod,
        AluOp::SignedMod,
        AluOp::Lsh,
        AluOp::Arsh,
        AluOp::Xor,
    ]);
    let cond = select(vec![
        Condition::Eq,
        Condition::Gt,
        Condition::SignedLt,
        Condition::Set,
    ]);
    let atomic = select(vec![
        AtomicOp::Add { fetch: true },
        AtomicOp::And { fetch: false },
        AtomicOp::Exchange,
        AtomicOp::CompareExchange,
    ]);
    prop_oneof![
        4 => (alu, width(), reg(), operand())
            .prop_map(|(op, width, dst, src)| Insn::Alu { op, width, dst, src }),
        2 => (width(), reg(), operand()).prop_map(|(width, dst, src)| Insn::Mov { width, dst, src }),
        4 => (size(), reg(), reg(), -24_i16..24)
            .prop_map(|(size, dst, base, off)| Insn::Load { size, signed: false, dst, base, off }),
        4 => (size(), reg(), -24_i16..24, operand())
            .prop_map(|(size, base, off, src)| Insn::Store { size, base, off, src }),
        1 => (atomic, select(vec![Size::W, Size::DW]), reg(), -24_i16..24, reg())
            .prop_map(|(op, size, base, off, src)| Insn::Atomic { op, size, base, off, src }),
        2 => (cond, width(), reg(), operand(), -4_i16..6)
            .prop_map(|(cond, width, dst, src, off)| Insn::JumpIf { cond, width, dst, src, off }),
        1 => (-4_i16..6).prop_map(|off| Insn::MayGoto { off }),
        3 => select(helpers()).prop_map(|helper| Insn::Call { target: CallTarget::Helper(helper) }),
        1 => (-6..6).prop_map(|off| Insn::Call { target: CallTarget::Local(off) }),
    ]
}

/// Helpers that XDP programs may call.
fn helpers() -> Vec<u32> {
    helper::implemented()
        .filter(|helper| {
            let types = helper.prototype.map(|prototype| prototype.program_types);
            types.is_some_and(|types| types.contains(&ProgramType::Xdp))
        })
        .map(|helper| helper.number)
        .collect()
}

fn program_of(insns: Vec<Insn>) -> Module {
    let function = Function {
        name: "main".to_owned(),
        start: 0,
        btf_id: None,
    };
    Module {
        programs: vec![Program {
            name: "main".to_owned(),
            section: String::new(),
            program_type: ProgramType::Xdp,
            attach: iom_core::module::XdpAttach::Device,
            fragments: true,
            insns,
            functions: vec![function],
            lines: Vec::new(),
            unresolved: Vec::new(),
        }],
        license: Some("GPL".to_owned()),
        ..Module::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever decodes either is refused or runs to an end, a fault or the budget; it never
    /// panics, and the frame stays in order.
    #[test]
    fn no_program_breaks_the_interpreter(
        insns in prop::collection::vec(any_insn(), 1..60),
        packet in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        let setup = [Reg::R2, Reg::R6, Reg::R7].map(|dst| Insn::Load {
            size: Size::W,
            signed: false,
            dst,
            base: Reg::R1,
            off: 0,
        });
        let insns = setup.into_iter().chain(insns).chain([Insn::Exit]).collect();
        let interpreter = Interpreter { budget: 5000, ..Interpreter::default() };
        // Jumps may still leave the program, which is refused.
        if let Ok(done) = run_module(&interpreter, program_of(insns), &[packet]) {
            prop_assert!(done.frames[0].len() <= Frame::BYTES_MAX);
        }
    }
}
