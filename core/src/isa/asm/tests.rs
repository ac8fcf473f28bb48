//! The assembler's forms and messages.

use super::assemble;
use crate::isa::{Insn, decode, encode};
use crate::module::LineInfo;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::fmt::Write;

fn insns(text: &str) -> Vec<Insn> {
    let module = assemble(text, "test.bpf").unwrap_or_else(|error| panic!("{error}\n{text}"));
    module
        .programs
        .into_iter()
        .flat_map(|program| program.insns)
        .collect()
}

/// Shows each line with the bytes that it becomes and the text of its instruction.
fn check_forms(text: &str, expected: &Expect) {
    let mut shown = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let insns = insns(line);
        assert_eq!(decode(&encode(&insns)), Ok(insns.clone()), "{line}");
        let mut bytes = String::new();
        for byte in encode(&insns) {
            write!(bytes, "{byte:02x}").unwrap();
        }
        writeln!(shown, "{bytes:<32} {:<44} | {line}", insns[0].to_string()).unwrap();
    }
    expected.assert_eq(&shown);
}

fn check_errors(texts: &[&str], expected: &Expect) {
    let mut shown = String::new();
    for text in texts {
        let error = assemble(text, "test.bpf").expect_err(text);
        writeln!(shown, "{}\n  {error}", text.replace('\n', "\\n")).unwrap();
    }
    expected.assert_eq(&shown);
}

#[test]
fn arithmetic() {
    check_forms(
        "r0 = 5
         r0 = -5
         w1 = 0xffffffff
         r1 = r2
         w1 = w2
         r1 = (s8)r2
         r1 = (s32)r2
         w1 = (s16)w2
         r1 += r2
         w1 -= 7
         r1 s/= r2
         w1 s%= -3
         r1 s>>= 63
         r1 <<= 32
         r1 = -r1
         w1 = -w1
         r0 = be16 r0
         r0 = le32 r0
         r0 = bswap64 r0
         r1=0x123456789abcdef ll
         r1 = -1 ll
         12: (b7) r0 = 1 ; as the kernel lists it",
        &expect![[r"
            b700000005000000                 r0 = 5                                       | r0 = 5
            b7000000fbffffff                 r0 = -5                                      | r0 = -5
            b4010000ffffffff                 w1 = -1                                      | w1 = 0xffffffff
            bf21000000000000                 r1 = r2                                      | r1 = r2
            bc21000000000000                 w1 = w2                                      | w1 = w2
            bf21080000000000                 r1 = (s8)r2                                  | r1 = (s8)r2
            bf21200000000000                 r1 = (s32)r2                                 | r1 = (s32)r2
            bc21100000000000                 w1 = (s16)w2                                 | w1 = (s16)w2
            0f21000000000000                 r1 += r2                                     | r1 += r2
            1401000007000000                 w1 -= 7                                      | w1 -= 7
            3f21010000000000                 r1 s/= r2                                    | r1 s/= r2
            94010100fdffffff                 w1 s%= -3                                    | w1 s%= -3
            c70100003f000000                 r1 s>>= 63                                   | r1 s>>= 63
            6701000020000000                 r1 <<= 32                                    | r1 <<= 32
            8701000000000000                 r1 = -r1                                     | r1 = -r1
            8401000000000000                 w1 = -w1                                     | w1 = -w1
            dc00000010000000                 r0 = be16 r0                                 | r0 = be16 r0
            d400000020000000                 r0 = le32 r0                                 | r0 = le32 r0
            d700000040000000                 r0 = bswap64 r0                              | r0 = bswap64 r0
            18010000efcdab890000000067452301 r1 = 0x123456789abcdef ll                    | r1=0x123456789abcdef ll
            18010000ffffffff00000000ffffffff r1 = 0xffffffffffffffff ll                   | r1 = -1 ll
            b700000001000000                 r0 = 1                                       | 12: (b7) r0 = 1 ; as the kernel lists it
        "]],
    );
}

#[test]
fn memory() {
    check_forms(
        "r0 = *(u32 *)(r1 + 4)
         w0 = *(u8 *)(r1 + 4)
         r0 = *(s16 *)(r1 - 2)
         r0 = *(u64 *)(r1 +0)
         r0 = *(u64*)(r1)
         *(u64 *)(r10 - 8) = r1
         *(u8 *)(r10 - 8) = w1
         *(u32 *)(r10 - 8) = 0xffffffff
         *(u64 *)(r10 - 8) = -1
         lock *(u64 *)(r1 + 0) += r2
         lock *(u32 *)(r1 + 0) ^= w2
         r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
         w2 = atomic_fetch_and((u32 *)(r1 + 8), w2)
         r2 = atomic_fetch_or((u32 *)(r1 + 8), r2)
         r1 = xchg_64(r2 + 0, r1)
         w1 = xchg32_32(r2 - 4, w1)
         r1 = atomic_xchg((u64 *)(r2 +0), r1)
         r0 = cmpxchg_64(r2 + 0, r0, r1)
         w0 = cmpxchg32_32(r2 + 0, w0, w1)
         r0 = atomic_cmpxchg((u64 *)(r2 +0), r0, r1)
         r0 = *(u16 *)skb[12]
         r0 = *(u32 *)skb[-4096]
         r0 = *(u8 *)skb[r6 + 14]",
        &expect![[r"
            6110040000000000                 r0 = *(u32 *)(r1 + 4)                        | r0 = *(u32 *)(r1 + 4)
            7110040000000000                 r0 = *(u8 *)(r1 + 4)                         | w0 = *(u8 *)(r1 + 4)
            8910feff00000000                 r0 = *(s16 *)(r1 - 2)                        | r0 = *(s16 *)(r1 - 2)
            7910000000000000                 r0 = *(u64 *)(r1 + 0)                        | r0 = *(u64 *)(r1 +0)
            7910000000000000                 r0 = *(u64 *)(r1 + 0)                        | r0 = *(u64*)(r1)
            7b1af8ff00000000                 *(u64 *)(r10 - 8) = r1                       | *(u64 *)(r10 - 8) = r1
            731af8ff00000000                 *(u8 *)(r10 - 8) = r1                        | *(u8 *)(r10 - 8) = w1
            620af8ffffffffff                 *(u32 *)(r10 - 8) = -1                       | *(u32 *)(r10 - 8) = 0xffffffff
            7a0af8ffffffffff                 *(u64 *)(r10 - 8) = -1                       | *(u64 *)(r10 - 8) = -1
            db21000000000000                 lock *(u64 *)(r1 + 0) += r2                  | lock *(u64 *)(r1 + 0) += r2
            c3210000a0000000                 lock *(u32 *)(r1 + 0) ^= w2                  | lock *(u32 *)(r1 + 0) ^= w2
            db21000001000000                 r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)   | r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
            c321080051000000                 w2 = atomic_fetch_and((u32 *)(r1 + 8), w2)   | w2 = atomic_fetch_and((u32 *)(r1 + 8), w2)
            c321080041000000                 w2 = atomic_fetch_or((u32 *)(r1 + 8), w2)    | r2 = atomic_fetch_or((u32 *)(r1 + 8), r2)
            db120000e1000000                 r1 = xchg_64(r2 + 0, r1)                     | r1 = xchg_64(r2 + 0, r1)
            c312fcffe1000000                 w1 = xchg32_32(r2 - 4, w1)                   | w1 = xchg32_32(r2 - 4, w1)
            db120000e1000000                 r1 = xchg_64(r2 + 0, r1)                     | r1 = atomic_xchg((u64 *)(r2 +0), r1)
            db120000f1000000                 r0 = cmpxchg_64(r2 + 0, r0, r1)              | r0 = cmpxchg_64(r2 + 0, r0, r1)
            c3120000f1000000                 w0 = cmpxchg32_32(r2 + 0, w0, w1)            | w0 = cmpxchg32_32(r2 + 0, w0, w1)
            db120000f1000000                 r0 = cmpxchg_64(r2 + 0, r0, r1)              | r0 = atomic_cmpxchg((u64 *)(r2 +0), r0, r1)
            280000000c000000                 r0 = *(u16 *)skb[12]                         | r0 = *(u16 *)skb[12]
            2000000000f0ffff                 r0 = *(u32 *)skb[-4096]                      | r0 = *(u32 *)skb[-4096]
            506000000e000000                 r0 = *(u8 *)skb[r6 + 14]                     | r0 = *(u8 *)skb[r6 + 14]
        "]],
    );
}

#[test]
fn control() {
    check_forms(
        "goto +3
         goto pc+3
         gotol -70000
         x: goto x
         if r1 s> 5 goto +1
         if w1 & w2 goto -1
         if r1 == -1 goto +0
         may_goto +2
         call 1
         call bpf_map_lookup_elem
         call redirect_map
         call pc-1
         f: call f
         call kfunc#123
         call kfunc#123 module 2
         r1 = map[3] ll
         r1 = map[3] + 8 ll
         r1 = variable#9 ll
         r1 = func pc+3 ll
         f: r1 = func f ll
         exit",
        &expect![[r"
            0500030000000000                 goto +3                                      | goto +3
            0500030000000000                 goto +3                                      | goto pc+3
            0600000090eefeff                 gotol -70000                                 | gotol -70000
            0500ffff00000000                 goto -1                                      | x: goto x
            6501010005000000                 if r1 s> 5 goto +1                           | if r1 s> 5 goto +1
            4e21ffff00000000                 if w1 & w2 goto -1                           | if w1 & w2 goto -1
            15010000ffffffff                 if r1 == -1 goto +0                          | if r1 == -1 goto +0
            e500020000000000                 may_goto +2                                  | may_goto +2
            8500000001000000                 call bpf_map_lookup_elem                     | call 1
            8500000001000000                 call bpf_map_lookup_elem                     | call bpf_map_lookup_elem
            8500000033000000                 call bpf_redirect_map                        | call redirect_map
            85100000ffffffff                 call pc-1                                    | call pc-1
            85100000ffffffff                 call pc-1                                    | f: call f
            852000007b000000                 call kfunc#123                               | call kfunc#123
            852002007b000000                 call kfunc#123 module 2                      | call kfunc#123 module 2
            18110000030000000000000000000000 r1 = map[3] ll                               | r1 = map[3] ll
            18210000030000000000000008000000 r1 = map[3] + 8 ll                           | r1 = map[3] + 8 ll
            18310000090000000000000000000000 r1 = variable#9 ll                           | r1 = variable#9 ll
            18410000030000000000000000000000 r1 = func pc+3 ll                            | r1 = func pc+3 ll
            18410000ffffffff0000000000000000 r1 = func pc-1 ll                            | f: r1 = func f ll
            9500000000000000                 exit                                         | exit
        "]],
    );
}

#[test]
fn syntax_errors_say_where_and_what() {
    check_errors(
        &[
            "r0 = 5\n  r11 = 3",
            "r0 == 5",
            "r0 = 5 5",
            "r0 = 5000000000",
            "w0 = r1",
            "r0 = -r1",
            "r0 = be24 r0",
            "r0 = *(u24 *)(r1 + 0)",
            "r0 = *(u32 *)(w1 + 0)",
            "r0 = *(u32 *)(r1 + 40000)",
            "r1 = *(u32 *)skb[3]",
            "*(u64 *)(r1 + 0) = w2",
            "lock *(u16 *)(r1 + 0) += r2",
            "r1 = cmpxchg_64(r2 + 0, r1, r3)",
            "r3 = atomic_fetch_add((u64 *)(r2 + 0), r4)",
            "if r1 = 5 goto x",
            "if r1 > 5 gotol x",
            "r1 = map[flows ll",
            "frobnicate",
            "exit # fine\nexit ; fine // too\nexit exit",
        ],
        &expect![[r"
            r0 = 5\n  r11 = 3
              2:3: found `r11`, expected a register from 0 to 10
            r0 == 5
              1:5: found `=`, expected a register, a number, or another right-hand side
            r0 = 5 5
              1:8: found `5`, expected the end of the line
            r0 = 5000000000
              1:6: found `5000000000`, expected a number from -2147483648 to 2147483647
            w0 = r1
              1:6: found `r1`, expected a 32-bit register, w0 to w10
            r0 = -r1
              1:7: found `r1`, expected `r0`, the register on the left
            r0 = be24 r0
              1:6: found `be24`, expected a register, a number, or another right-hand side
            r0 = *(u24 *)(r1 + 0)
              1:8: found `u24`, expected `u8`, `u16`, `u32` or `u64` or `s8`, `s16` or `s32`
            r0 = *(u32 *)(w1 + 0)
              1:15: found `w1`, expected a 64-bit register, r0 to r10
            r0 = *(u32 *)(r1 + 40000)
              1:18: found `+`, expected a number from -32768 to 32767
            r1 = *(u32 *)skb[3]
              1:6: found `*(u32`, expected a load of up to 32 bits into r0
            *(u64 *)(r1 + 0) = w2
              1:20: found `w2`, expected a 64-bit register, r0 to r10
            lock *(u16 *)(r1 + 0) += r2
              1:8: found `u16`, expected `u32` or `u64`
            r1 = cmpxchg_64(r2 + 0, r1, r3)
              1:23: found `,`, expected `r0` on the left of a compare-and-exchange
            r3 = atomic_fetch_add((u64 *)(r2 + 0), r4)
              1:40: found `r4`, expected `r3`, the register on the left
            if r1 = 5 goto x
              1:7: found `=`, expected a comparison such as `==` or `s>`
            if r1 > 5 gotol x
              1:11: found `gotol`, expected `goto`
            r1 = map[flows ll
              1:16: found `ll`, expected `]`
            frobnicate
              1:1: found `frobnicate`, expected an instruction, a directive or a label
            exit # fine\nexit ; fine // too\nexit exit
              3:6: found `exit`, expected the end of the line
        "]],
    );
}

#[test]
fn directive_errors_say_where_and_what() {
    check_errors(
        &[
            ".map flows hush",
            ".map flows hash flags fast",
            ".map flows hash keys 4",
            ".map flows hash key 4\n.map flows hash",
            ".entry 00 = 01",
            ".map a array\n.entry 000 = 01",
            ".map a prog_array\n.entry 00000000 = program b",
            ".program a xpd",
            ".license \"GPL",
        ],
        &expect![[r#"
            .map flows hush
              1:12: found `hush`, expected a map type such as `hash`
            .map flows hash flags fast
              1:23: found `fast`, expected a map flag such as `no_prealloc`
            .map flows hash keys 4
              1:17: found `keys`, expected `key`, `value`, `max`, `flags`, `extra`, `frozen`, `data` or `pinned`
            .map flows hash key 4\n.map flows hash
              2:1: `flows` is there already, on line 1
            .entry 00 = 01
              1:1: this belongs to a map, but there is no `.map` before it
            .map a array\n.entry 000 = 01
              2:8: found `000`, expected bytes as pairs of hex digits
            .map a prog_array\n.entry 00000000 = program b
              2:1: no program is called `b`
            .program a xpd
              1:12: found `xpd`, expected a program type such as `xdp` or `sched_cls`
            .license "GPL
              1:14: found the end of the line, expected `"` at the end of the text
        "#]],
    );
}

#[test]
fn unknown_names_are_errors() {
    check_errors(
        &[
            "goto nowhere",
            "    call nothing",
            "r1 = map[flows] ll",
            "a:\nr0 = 0\na: exit",
        ],
        &expect![[r"
            goto nowhere
              1:6: `nowhere` is no label of this program
                call nothing
              1:10: `nothing` is neither a label of this program nor a helper
            r1 = map[flows] ll
              1:10: no map is called `flows`: declare it with `.map flows TYPE key N value N max N`
            a:\nr0 = 0\na: exit
              3:1: `a` is there already, on line 1
        "]],
    );
    let far = format!("goto end\n{}end: exit", "r0 = 0\n".repeat(40_000));
    let error = assemble(&far, "far.bpf").unwrap_err();
    expect![
        "1:6: `end` is 40000 slots away, too far for this instruction; `gotol` reaches further"
    ]
    .assert_eq(&error.to_string());
}

#[test]
fn programs_functions_and_lines() {
    let module = assemble(
        ".license \"Dual MIT/GPL\"\n\
         .map jumps prog_array key 4 value 4 max 2\n\
         .entry 01000000 = program second\n\
         .program first xdp.frags/devmap\n\
         \tcall add   ; comment\n\
         \texit\n\
         add: r0 = 1\n\
         \texit\n\
         .program second sched_cls section tc\n\
         exit\n",
        "two.bpf",
    )
    .unwrap();
    let mut shown = format!("{:?} {:?}\n", module.license, module.maps[0].initial);
    for program in &module.programs {
        let kind = (program.program_type, program.attach, program.fragments);
        writeln!(shown, "{} {:?} {kind:?}", program.name, program.section).unwrap();
        for function in &program.functions {
            writeln!(shown, "  {} at {}", function.name, function.start).unwrap();
        }
        for LineInfo {
            insn,
            file,
            line,
            column,
            text,
            ..
        } in &program.lines
        {
            writeln!(shown, "  {insn}: {file}:{line}:{column} {text:?}").unwrap();
        }
    }
    expect![[r#"
        Some("Dual MIT/GPL") [InitialEntry { key: [1, 0, 0, 0], value: Program(1) }]
        first "xdp.frags/devmap" (Xdp, Devmap, true)
          first at 0
          add at 2
          0: two.bpf:5:2 "call add"
          1: two.bpf:6:2 "exit"
          2: two.bpf:7:6 "r0 = 1"
          3: two.bpf:8:2 "exit"
        second "tc" (SchedCls, Device, false)
          second at 0
          0: two.bpf:10:1 "exit"
    "#]]
    .assert_eq(&shown);
}

#[test]
fn the_documented_example_assembles() {
    let guide = include_str!("../../../../docs/assembly.md");
    let example = guide.split("```").nth(1).expect("a code block");
    let module = assemble(example, "assembly.md").unwrap();
    assert_eq!(module.programs[0].insns.len(), 17);
}

proptest! {
    #[test]
    fn never_panics(text in "([a-z0-9 .,:;#\"\\\\()*+=<>&|\\[\\]/-]|r[0-9]|\n){0,80}") {
        let _ = assemble(&text, "random.bpf");
    }

    #[test]
    fn never_panics_on_broken_lines(insn in crate::isa::arbitrary::insn(), at: usize, c: char) {
        let mut text: Vec<char> = insn.to_string().chars().collect();
        let at = at % text.len();
        text[at] = c;
        let _ = assemble(&text.into_iter().collect::<String>(), "broken.bpf");
    }
}
