//! Helpers on interpreter and kernel: whatever they return and write is the same.

use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;

use crate::support::{
    Run, assert_same, frame, kernel_is_here, lock_types, module, plain, run, run_module,
};

const PACKET: [u8; 60] = [0xab; 60];

/// Runs one packet through a program that leaves its results in a map `out` of 256 bytes, whose
/// address is in `r6`; its context is in `r7`. Gives what is in the map.
fn results(maps: &str, body: &str) -> Vec<u8> {
    let text = format!(
        ".license \"GPL\"
         .map out array key 4 value 256 max 1
         {maps}
         .program main xdp
         r7 = r1
         r6 = map[out] + 0 ll
         {body}"
    );
    let run: Run = run(&text, vec![frame(0, &PACKET)]);
    plain(&run.maps[0], &[0; 4]).expect("the map has its value")
}

fn word(bytes: &[u8], index: usize) -> i64 {
    i64::from_le_bytes(bytes[8 * index..8 * index + 8].try_into().expect("8 bytes"))
}

/// A map `text` with this string and its zero byte, read-only.
fn constant(text: &str) -> String {
    let hex = iom_core::hex::encode(text.as_bytes());
    format!(
        ".map text array key 4 value {} max 1 flags rdonly_prog frozen
         .entry 00000000 = {hex}00",
        text.len() + 1
    )
}

/// Puts text on the stack, at -64.
fn on_the_stack(text: &[u8]) -> String {
    let stores = (0..64).map(|index| {
        let byte = text.get(index).copied().unwrap_or_default();
        format!("*(u8 *)(r10 - {}) = {byte}\n", 64 - index)
    });
    stores.collect()
}

#[test]
fn kernel_reads_numbers_from_text() {
    if !kernel_is_here() {
        return;
    }
    for (text, flags) in [
        (&b"12"[..], 0),
        (b" \t\x0b-12 ", 10),
        (b"\xa07", 0),
        (b"0x1fg", 0),
        (b"0X1f", 16),
        (b"1f", 16),
        (b"0x", 0),
        (b"0xg", 16),
        (b"0779", 0),
        (b"08", 0),
        (b"8", 8),
        (b"1", 2),
        (b"1", 32),
        (b" -", 0),
        (b"--1", 0),
        (b"+1", 0),
        (b"a", 0),
        (b"18446744073709551615", 0),
        (b"18446744073709551616", 0),
        (b"9223372036854775808", 0),
        (b"-9223372036854775808", 0),
        (b"-9223372036854775809", 0),
        (b"-0", 0),
        (
            b"000000000000000000000000000000000000000000000000000000000000007",
            10,
        ),
    ] {
        let len = text.len();
        let body = format!(
            "{}
             *(u64 *)(r10 - 72) = -1
             *(u64 *)(r10 - 80) = -1
             r1 = r10
             r1 += -64
             r2 = {len}
             r3 = {flags}
             r4 = r10
             r4 += -72
             call strtol
             *(u64 *)(r6 + 0) = r0
             r1 = r10
             r1 += -64
             r2 = {len}
             r3 = {flags}
             r4 = r10
             r4 += -80
             call strtoul
             *(u64 *)(r6 + 8) = r0
             r0 = *(u64 *)(r10 - 72)
             *(u64 *)(r6 + 16) = r0
             r0 = *(u64 *)(r10 - 80)
             *(u64 *)(r6 + 24) = r0
             r0 = 2
             exit",
            on_the_stack(text)
        );
        let out = results("", &body);
        if text == b" \t\x0b-12 " {
            assert_eq!(
                [0, 1, 2, 3].map(|index| word(&out, index)),
                [6, -22, -12, 0]
            );
        }
    }
}

#[test]
fn kernel_compares_strings() {
    if !kernel_is_here() {
        return;
    }
    for (one, len, other, expected) in [
        (&b"abc\0x"[..], 5, "abc", 0),
        (b"abc", 3, "abcd", 0),
        (b"abd", 3, "abc", 1),
        (b"ab\xff", 3, "ab1", 1),
        (b"ab", 3, "abc", -1),
        (b"ab", 1, "abc", 0),
    ] {
        let body = format!(
            "{}
             r1 = r10
             r1 += -64
             r2 = {len}
             r3 = map[text] + 0 ll
             call strncmp
             *(u64 *)(r6 + 0) = r0
             r0 = 2
             exit",
            on_the_stack(one)
        );
        let out = results(&constant(other), &body);
        assert_eq!(word(&out, 0), expected, "{other}");
    }
}

#[test]
fn kernel_formats_text() {
    if !kernel_is_here() {
        return;
    }
    for (format, room, expected) in [
        ("plain", 64, "plain"),
        ("%d %u %llx", 64, "-1 4294967295 1122334455667788"),
        ("%5d|%-5u|%08llX", 64, "   -1|4294967295|1122334455667788"),
        ("%d %u %llx", 6, "-1 42"),
        ("%d %u %llx", 1, ""),
        ("%i%%%lu", 64, "-1%18446744073709551615"),
        ("%c|", 64, "\u{ff}|"),
    ] {
        let numbers = format.matches('%').count() - 2 * format.matches("%%").count();
        let body = format!(
            "*(u64 *)(r10 - 24) = -1
             *(u64 *)(r10 - 16) = -1
             r1 = 0x1122334455667788 ll
             *(u64 *)(r10 - 8) = r1
             r1 = r6
             r1 += 8
             r2 = {room}
             r3 = map[text] + 0 ll
             r4 = r10
             r4 += -24
             r5 = {}
             call snprintf
             *(u64 *)(r6 + 0) = r0
             r0 = 2
             exit",
            8 * numbers
        );
        let out = results(&constant(format), &body);
        let text: Vec<u8> = expected.chars().map(|character| character as u8).collect();
        assert_eq!(
            out[8..=8 + text.len()],
            [&text[..], b"\0"].concat(),
            "{format}"
        );
    }
}

#[test]
fn kernel_formats_strings_and_addresses() {
    if !kernel_is_here() {
        return;
    }
    let maps = constant("%s=%pI4 %pi6");
    let body = "*(u64 *)(r10 - 32) = 0x636261
         *(u64 *)(r10 - 40) = 0x0100000a
         *(u64 *)(r10 - 48) = 0
         r1 = r10
         r1 += -32
         *(u64 *)(r10 - 24) = r1
         r1 = r10
         r1 += -40
         *(u64 *)(r10 - 16) = r1
         r1 += -8
         *(u64 *)(r10 - 8) = r1
         r1 = r6
         r1 += 8
         r2 = 100
         r3 = map[text] + 0 ll
         r4 = r10
         r4 += -24
         r5 = 24
         call snprintf
         *(u64 *)(r6 + 0) = r0
         r0 = 2
         exit";
    let out = results(&maps, body);
    assert_eq!(word(&out, 0), 46);
    assert_eq!(
        &out[8..53],
        b"abc=10.0.0.1 0000000000000000"
            .iter()
            .chain(b"0a00000100000000")
            .copied()
            .collect::<Vec<u8>>()
    );
}

#[test]
fn kernel_prints_many_numbers() {
    if !kernel_is_here() {
        return;
    }
    for (len, expected) in [(32, 7), (24, -22), (31, -22)] {
        let body = format!(
            "*(u64 *)(r10 - 32) = 1
             *(u64 *)(r10 - 24) = 2
             *(u64 *)(r10 - 16) = 3
             *(u64 *)(r10 - 8) = 4
             r1 = map[text] + 0 ll
             r2 = 12
             r3 = r10
             r3 += -32
             r4 = {len}
             call trace_vprintk
             *(u64 *)(r6 + 0) = r0
             r0 = 2
             exit"
        );
        let out = results(&constant("%d %d %d %d"), &body);
        assert_eq!(word(&out, 0), expected, "{len}");
    }
}

#[test]
fn kernel_loops_until_the_callback_says() {
    if !kernel_is_here() {
        return;
    }
    for (count, last, flags, expected) in [
        (10, 100, 0, [10, 45]),
        (10, 3, 0, [4, 6]),
        (0, 100, 0, [0, 0]),
        (10, 0, 0, [1, 0]),
        (10, 0, 1, [-22, 0]),
        (0x80_0001, 0, 0, [0xffff_fff9, 0]),
        (0x80_0001, 0, 2, [-22, 0]),
        (0x1_0000_0001_u64, 0, 0, [0xffff_fff9, 0]),
    ] {
        let body = format!(
            "*(u64 *)(r10 - 8) = 0
             r1 = {count} ll
             r2 = func body ll
             r3 = r10
             r3 += -8
             r4 = {flags}
             call loop
             *(u64 *)(r6 + 0) = r0
             r0 = *(u64 *)(r10 - 8)
             *(u64 *)(r6 + 8) = r0
             r0 = 2
             exit
             body:
             r0 = *(u64 *)(r2 + 0)
             r0 += r1
             *(u64 *)(r2 + 0) = r0
             r0 = 0
             if r1 < {last} goto more
             r0 = 1
             more:
             exit"
        );
        let out = results("", &body);
        assert_eq!([word(&out, 0), word(&out, 1)], expected, "{count} {last}");
    }
}

#[test]
fn kernel_loops_nest_and_keep_registers() {
    if !kernel_is_here() {
        return;
    }
    let body = "*(u64 *)(r10 - 8) = 0
         r8 = 77
         r1 = 5
         r2 = func outer ll
         r3 = r10
         r3 += -8
         r4 = 0
         call loop
         *(u64 *)(r6 + 0) = r0
         r0 = *(u64 *)(r10 - 8)
         *(u64 *)(r6 + 8) = r0
         *(u64 *)(r6 + 16) = r8
         r0 = 2
         exit
         outer:
         r6 = r2
         r8 = r1
         *(u64 *)(r10 - 8) = r6
         r3 = r10
         r3 += -8
         r1 += 1
         r2 = func inner ll
         r4 = 0
         call loop
         r1 = *(u64 *)(r6 + 0)
         r1 += r8
         r1 += r0
         *(u64 *)(r6 + 0) = r1
         r0 = 0
         exit
         inner:
         r2 = *(u64 *)(r2 + 0)
         r3 = *(u64 *)(r2 + 0)
         r3 += 1000
         *(u64 *)(r2 + 0) = r3
         call step
         r0 = 0
         exit
         step:
         r8 = 5
         r0 = 1
         exit";
    let out = results("", body);
    assert_eq!([0, 1, 2].map(|index| word(&out, index)), [5, 15_025, 77]);
}

/// Sums keys and values of a map in a callback that stops behind `last` entries.
fn visit(map: &str, last: u32, flags: u32) -> Vec<u8> {
    let body = format!(
        "r1 = map[entries] ll
         r2 = func body ll
         r3 = r10
         r3 += -8
         *(u64 *)(r3 + 0) = 0
         r4 = {flags}
         call for_each_map_elem
         *(u64 *)(r6 + 0) = r0
         r0 = 2
         exit
         body:
         r5 = map[out] + 0 ll
         r2 = *(u32 *)(r2 + 0)
         lock *(u64 *)(r5 + 8) += r2
         r2 = *(u64 *)(r3 + 0)
         lock *(u64 *)(r5 + 16) += r2
         r2 += 1
         *(u64 *)(r3 + 0) = r2
         r1 = *(u64 *)(r5 + 24)
         r1 += 1
         *(u64 *)(r5 + 24) = r1
         r0 = 0
         if r1 < {last} goto more
         r0 = 1
         more:
         exit"
    );
    results(map, &body)
}

#[test]
fn kernel_visits_every_entry_of_a_map() {
    if !kernel_is_here() {
        return;
    }
    let entries = ".entry 01000000 = 0a00000000000000
         .entry 02000000 = 1400000000000000";
    for (map_type, expected) in [
        ("array", [4, 6, 30]),
        ("percpu_array", [4, 6, 30]),
        ("hash", [2, 3, 30]),
        ("percpu_hash", [2, 3, 30]),
        ("lru_hash", [2, 3, 30]),
    ] {
        let map = format!(".map entries {map_type} key 4 value 8 max 4\n{entries}");
        let out = visit(&map, 100, 0);
        let found = [0, 1, 2].map(|index| word(&out, index));
        assert_eq!(found, expected, "{map_type}");
        let out = visit(&map, 100, 1);
        assert_eq!(word(&out, 0), -22, "{map_type}");
    }
    let array = format!(".map entries array key 4 value 8 max 4\n{entries}");
    let out = visit(&array, 2, 0);
    assert_eq!([0, 1, 2].map(|index| word(&out, index)), [2, 1, 10]);
}

#[test]
fn kernel_callbacks_delete_what_they_see() {
    if !kernel_is_here() {
        return;
    }
    let map = ".map entries hash key 4 value 8 max 4
         .entry 01000000 = 0a00000000000000
         .entry 02000000 = 1400000000000000
         .entry 07000000 = 1500000000000000";
    let body = "r1 = map[entries] ll
         r2 = func body ll
         r3 = 0
         r4 = 0
         call for_each_map_elem
         *(u64 *)(r6 + 0) = r0
         r0 = 2
         exit
         body:
         call map_delete_elem
         r0 = 0
         exit";
    let out = results(map, body);
    assert_eq!(word(&out, 0), 3);
}

#[test]
fn kernel_answers_questions_about_a_ring() {
    if !kernel_is_here() {
        return;
    }
    let question = |question: u32| {
        format!(
            "r1 = map[events] ll
             r2 = {question}
             call ringbuf_query
             *(u64 *)(r6 + {}) = r0\n",
            8 * question
        )
    };
    let questions = (0..6).map(question).collect::<Vec<_>>().concat();
    let body = format!(
        "*(u64 *)(r10 - 8) = 7
         r1 = map[events] ll
         r2 = r10
         r2 += -8
         r3 = 5
         r4 = 0
         call ringbuf_output
         {questions}
         r0 = 2
         exit"
    );
    let out = results(".map events ringbuf max 4096", &body);
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|index| word(&out, index)),
        [16, 4096, 0, 16, 0, 0]
    );
}

#[test]
fn kernel_numbers_of_the_machine() {
    if !kernel_is_here() {
        return;
    }
    let out = results(
        "",
        "call get_numa_node_id
         *(u64 *)(r6 + 0) = r0
         call ktime_get_tai_ns
         *(u64 *)(r6 + 8) = r0
         r0 = 2
         exit",
    );
    assert_eq!([word(&out, 0), word(&out, 1)], [0, 1_000_000_000_000]);
}

#[test]
fn kernel_counts_under_a_lock() {
    if !kernel_is_here() {
        return;
    }
    let text = ".license \"GPL\"
         .map counters array key 4 value 8 max 1
         .program main xdp
         *(u32 *)(r10 - 4) = 0
         r2 = r10
         r2 += -4
         r1 = map[counters] ll
         call map_lookup_elem
         if r0 == 0 goto out
         r6 = r0
         r1 = r6
         call spin_lock
         r7 = *(u32 *)(r6 + 4)
         r7 += 1
         *(u32 *)(r6 + 4) = r7
         r1 = r6
         call spin_unlock
         r0 = r7
         out:
         exit";
    let mut locked = iom_core::module::Module::clone(&module(text));
    locked.btf = Some(lock_types());
    locked.maps[0].btf_types = (1, 3);
    let locked = Arc::new(locked);
    let frames: Vec<_> = (0..3).map(|id| frame(id, &PACKET)).collect();
    let interpreter = run_module(&Interpreter::default(), &locked, frames.clone());
    let kernel = run_module(&KernelBackend::default(), &locked, frames);
    assert_same("lock", &interpreter, &kernel, &locked);
    let value = plain(&kernel.maps[0], &[0; 4]);
    assert_eq!(value, Some(vec![0, 0, 0, 0, 3, 0, 0, 0]));
}

#[test]
fn locks_are_not_taken_twice_nor_given_back_unheld() {
    let run = |calls: &str| {
        let text = format!(
            ".map counters array key 4 value 8 max 1
             r6 = map[counters] + 0 ll
             {calls}
             r0 = 2
             exit"
        );
        let frames = vec![frame(0, &PACKET), frame(1, &PACKET)];
        let run = run_module(&Interpreter::default(), &module(&text), frames);
        let traps = run.outcomes.iter().map(|outcome| outcome.trap.is_some());
        traps.collect::<Vec<_>>()
    };
    let (lock, unlock) = ("r1 = r6\ncall spin_lock\n", "r1 = r6\ncall spin_unlock\n");
    assert_eq!(run(&[lock, unlock].concat()), [false, false]);
    assert_eq!(run(&[lock, lock].concat()), [true, true]);
    assert_eq!(run(unlock), [true, true]);
    // What one packet holds does not block the next.
    assert_eq!(run(lock), [false, false]);
}

/// A TCP header with options, as stores to the stack from -60 on.
fn tcp_on_the_stack(doff: u8, acknowledged: u32, options: &[u8]) -> String {
    let mut header = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4];
    header.extend(acknowledged.to_be_bytes());
    header.extend([doff << 4, 2, 0, 0, 0, 0, 0, 0]);
    header.extend(options);
    header.resize(60, 0);
    let stores = header.iter().enumerate();
    let stores = stores.map(|(index, byte)| format!("*(u8 *)(r10 - {}) = {byte}\n", 60 - index));
    stores.collect()
}

/// Linux's cookies are of a secret; ours take their place in the rewrite.
#[test]
fn kernel_makes_and_checks_syn_cookies() {
    if !kernel_is_here() {
        return;
    }
    for (version, ip_bytes) in [("ipv4", 20), ("ipv6", 40)] {
        let byte = |index| format!("*(u8 *)(r10 - {}) = {}", 120 - index, index * 3 + 1);
        let ip = (0..ip_bytes).map(byte).collect::<Vec<_>>().join("\n") + "\n";
        for (doff, length, options) in [
            (5, 20, &[][..]),
            (6, 24, &[2, 4, 5, 0xb4]),
            (7, 28, &[1, 1, 1, 1, 2, 4, 5, 0x14]),
            (6, 20, &[]),
            (5, 19, &[]),
            (6, 24, &[3, 3, 7, 0]),
            (15, 60, &[2, 4, 0x22, 0xec]),
        ] {
            let call = |helper: &str, length: &str, word: u32| {
                format!(
                    "r1 = r10\nr1 += -120\nr2 = r10\nr2 += -60\n{length}\ncall {helper}\n\
                     *(u64 *)(r6 + {word}) = r0\n"
                )
            };
            let generate = format!("tcp_raw_gen_syncookie_{version}");
            let check = format!("tcp_raw_check_syncookie_{version}");
            let body = [
                ip.clone(),
                tcp_on_the_stack(doff, 0, options),
                call(&generate, &format!("r3 = {length}"), 0),
                // As the client answers: both numbers one more.
                "r8 = r0\nr8 += 1\nr8 = be32 r8\n*(u32 *)(r10 - 52) = r8\n".to_owned(),
                "*(u8 *)(r10 - 53) = 5\n".to_owned(),
                call(&check, "", 8),
                "*(u8 *)(r10 - 49) = 77\n".to_owned(),
                call(&check, "", 16),
                "r0 = 2\nexit".to_owned(),
            ];
            let left = results("", &body.concat());
            let made = word(&left, 0);
            let valid = length >= 20 && usize::from(doff) * 4 == length;
            assert_eq!(made >= 0, valid, "{version} {doff} {length}");
            if valid {
                assert_eq!(word(&left, 1), 0, "{version} {doff}");
            }
            assert_eq!(word(&left, 2), -13, "{version} {doff}");
        }
    }
}
