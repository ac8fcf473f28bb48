//! Each kind of program through the kernel backend, against what it must leave behind.

use std::sync::Arc;

use iom_backends::kernel::KernelBackend;
use iom_core::abi::{
    BackendError, Environment, Frame, QueueId, Recorder, Redirect, RedirectKind, XdpAction,
};
use iom_core::isa::{Insn, Reg, Size};
use iom_core::map::{MapSpec, MapType, MapValue};
use iom_core::object::load_object;

use crate::support::{
    ENVIRONMENT, PLAIN, frame, kernel_is_here, load, module, plain, run, run_module,
};

const PACKET: [u8; 60] = [0xab; 60];

#[test]
fn kernel_returns_any_value() {
    if !kernel_is_here() {
        return;
    }
    for retval in [0, 1, 2, 3, 17, 0x8000_0000_u32] {
        let run = run(
            &format!("w0 = {retval:#x}\nexit"),
            vec![frame(0, &PACKET), frame(1, &PACKET)],
        );
        assert_eq!(run.outcomes[1].retval, retval);
        assert_eq!(run.outcomes[1].redirect, None);
        assert_eq!(run.frames[1].packet(), PACKET);
    }
}

#[test]
fn kernel_counts_in_every_map_type_that_programs_update() {
    if !kernel_is_here() {
        return;
    }
    let types = ["array", "percpu_array", "hash", "percpu_hash", "lru_hash"];
    for map_type in types {
        let text = format!(
            ".map counters {map_type} key 4 value 8 max 4
             *(u32 *)(r10 - 4) = 2
             *(u64 *)(r10 - 16) = 1
             r2 = r10
             r2 += -4
             r1 = map[counters] ll
             call map_lookup_elem
             if r0 == 0 goto new
             r1 = 1
             lock *(u64 *)(r0 + 0) += r1
             goto out
             new:
             r1 = map[counters] ll
             r2 = r10
             r2 += -4
             r3 = r10
             r3 += -16
             r4 = 0
             call map_update_elem
             out:
             r0 = 2
             exit"
        );
        let run = run(&text, (0..3).map(|id| frame(id, &PACKET)).collect());
        let entry = run.maps[0]
            .entries
            .iter()
            .find(|entry| entry.key == [2, 0, 0, 0])
            .unwrap_or_else(|| panic!("{map_type} has the key"));
        let expected = 3u64.to_le_bytes().to_vec();
        match &entry.value {
            MapValue::Plain(value) => assert_eq!(*value, expected, "{map_type}"),
            MapValue::PerQueue(values) => assert_eq!(*values, [expected], "{map_type}"),
        }
        let entries = if map_type.contains("array") { 4 } else { 1 };
        assert_eq!(run.maps[0].entries.len(), entries, "{map_type}");
    }
}

#[test]
fn kernel_looks_up_prefixes() {
    if !kernel_is_here() {
        return;
    }
    let run = run(
        ".map routes lpm_trie key 8 value 4 max 8 flags no_prealloc
         .entry 080000000a000000 = 07000000
         .entry 100000000a010000 = 09000000
         *(u32 *)(r10 - 8) = 32
         *(u32 *)(r10 - 4) = 0x0200010a
         r2 = r10
         r2 += -8
         r1 = map[routes] ll
         call map_lookup_elem
         if r0 == 0 goto out
         r0 = *(u32 *)(r0 + 0)
         out:
         exit",
        vec![frame(0, &PACKET)],
    );
    assert_eq!(run.outcomes[0].retval, 9);
    assert_eq!(run.maps[0].entries.len(), 2);
}

#[test]
fn kernel_redirects_to_an_interface() {
    if !kernel_is_here() {
        return;
    }
    let text = "r1 = 3\nr2 = 0\ncall redirect\nexit";
    let expected = Redirect {
        kind: RedirectKind::Ifindex,
        map: None,
        key: None,
        target: Some(3),
        flags: 0,
    };
    let rewritten = run(text, vec![frame(0, &PACKET)]);
    assert_eq!(rewritten.outcomes[0].action(), XdpAction::Redirect);
    assert_eq!(rewritten.outcomes[0].redirect, Some(expected));
    let plain = run_module(&PLAIN, &module(text), vec![frame(0, &PACKET)]);
    assert_eq!(plain.outcomes[0].retval, 4);
    assert_eq!(plain.outcomes[0].redirect, None);
}

/// `redirect_map` with the packet's first byte as key.
fn redirect_map(map: &str, flags: i64) -> String {
    format!(
        "{map}
         r2 = *(u32 *)(r1 + 0)
         r3 = *(u32 *)(r1 + 4)
         r4 = r2
         r4 += 1
         r0 = 0
         if r4 > r3 goto out
         r2 = *(u8 *)(r2 + 0)
         r1 = map[ports] ll
         r3 = {flags}
         call redirect_map
         out:
         exit"
    )
}

/// Frames that begin with each of these bytes.
fn frames_with(keys: &[u8]) -> Vec<Frame> {
    let packet = |key| {
        let mut packet = PACKET;
        packet[0] = key;
        packet
    };
    (0..)
        .zip(keys)
        .map(|(id, key)| frame(id, &packet(*key)))
        .collect()
}

#[test]
fn kernel_redirects_through_maps() {
    if !kernel_is_here() {
        return;
    }
    let maps = [
        (
            ".map ports devmap key 4 value 4 max 4\n.entry 01000000 = 03000000",
            RedirectKind::Devmap,
            3,
        ),
        (
            ".map ports devmap_hash key 4 value 8 max 4\n.entry 01000000 = 0200000000000000",
            RedirectKind::Devmap,
            2,
        ),
        (
            ".map ports cpumap key 4 value 4 max 4\n.entry 01000000 = 40000000",
            RedirectKind::Cpumap,
            1,
        ),
    ];
    for (map, kind, target) in maps {
        let run = run(&redirect_map(map, 2), frames_with(&[1, 0, 1]));
        let expected = Redirect {
            kind,
            map: Some(0),
            key: Some(1),
            target: Some(target),
            flags: 2,
        };
        assert_eq!(run.outcomes[0].redirect, Some(expected), "{map}");
        assert_eq!(
            run.outcomes[1].retval, 2,
            "a miss gives the low bits: {map}"
        );
        assert_eq!(run.outcomes[1].redirect, None);
        assert_eq!(run.outcomes[2], run.outcomes[0]);
        assert_eq!(run.maps[0].entries.len(), 1, "{map}");
    }
}

#[test]
fn kernel_devmaps_may_name_interfaces_beside_the_ports() {
    if !kernel_is_here() {
        return;
    }
    let map = ".map ports devmap key 4 value 4 max 4
         .entry 01000000 = 03000000
         .entry 02000000 = 63000000";
    let run = run(&redirect_map(map, 1), frames_with(&[1, 2, 3]));
    let target = |packet: usize| run.outcomes[packet].redirect.and_then(|to| to.target);
    assert_eq!((target(0), target(1)), (Some(3), Some(0x63)));
    assert_eq!(run.outcomes[2].retval, 1);
    assert_eq!(run.maps[0].entries.len(), 2);
}

#[test]
fn kernel_keeps_only_entries_that_exist() {
    if !kernel_is_here() {
        return;
    }
    // A CPU behind the last, and an interface index above those that are made.
    let cpu = KernelBackend::cpus();
    let maps = [
        format!(
            ".map ports cpumap key 4 value 4 max {}\n.entry {:08x} = 40000000",
            cpu + 1,
            cpu.swap_bytes()
        ),
        ".map ports devmap key 4 value 4 max 4\n.entry 01000000 = 0000f000".to_owned(),
    ];
    for map in maps {
        let module = module(&redirect_map(&map, 1));
        let frames = frames_with(&[1, cpu as u8]);
        let run = run_module(&KernelBackend::default(), &module, frames);
        let retvals: Vec<u32> = run.outcomes.iter().map(|outcome| outcome.retval).collect();
        assert_eq!(retvals, [1, 1], "{map}");
        assert_eq!(run.maps[0].entries.len(), 0, "{map}");
    }
}

#[test]
fn kernel_last_redirect_stands() {
    if !kernel_is_here() {
        return;
    }
    // An interface, then a miss that clears it, then a return value of its own.
    let cleared = ".map ports devmap key 4 value 4 max 4
         r1 = 3
         r2 = 0
         call redirect
         r1 = map[ports] ll
         r2 = 0
         r3 = 0
         call redirect_map
         r0 = 4
         exit";
    let run_cleared = run(cleared, vec![frame(0, &PACKET)]);
    assert_eq!(run_cleared.outcomes[0].retval, 4);
    assert_eq!(run_cleared.outcomes[0].redirect, None);
    // A bad flag leaves the target; 100 calls go round the ring of records.
    let many = "r6 = 0
         again:
         r1 = r6
         r2 = 0
         call redirect
         r6 += 1
         if r6 != 100 goto again
         r1 = 3
         r2 = 1
         call redirect
         r0 = 4
         exit";
    let run_many = run(many, vec![frame(0, &PACKET)]);
    let redirect = run_many.outcomes[0].redirect.expect("a redirect");
    assert_eq!(redirect.target, Some(99));
}

#[test]
fn kernel_tail_calls_share_the_environment() {
    if !kernel_is_here() {
        return;
    }
    let text = ".license \"GPL\"
         .map jumps prog_array key 4 value 4 max 4
         .entry 01000000 = program second
         .program first xdp
         r6 = r1
         call get_prandom_u32
         r1 = r6
         r2 = map[jumps] ll
         r3 = 1
         call tail_call
         r0 = 0
         exit
         .program second xdp
         call get_prandom_u32
         exit";
    let run = run(text, (0..3).map(|id| frame(id, &PACKET)).collect());
    for (id, outcome) in (0..).zip(&run.outcomes) {
        let mut random = ENVIRONMENT.random(id);
        random.next_u32();
        assert_eq!(outcome.retval, random.next_u32());
    }
    assert_eq!(plain(&run.maps[0], &[1, 0, 0, 0]), Some(vec![1, 0, 0, 0]));
    assert_eq!(run.maps[0].entries.len(), 1);
}

#[test]
fn kernel_ring_buffer_records_become_events() {
    if !kernel_is_here() {
        return;
    }
    // One record by output, one reserved and submitted, one discarded.
    let text = ".map unused array key 4 value 4 max 1
         .map events ringbuf max 4096
         *(u64 *)(r10 - 8) = 0x11223344
         r1 = map[events] ll
         r2 = r10
         r2 += -8
         r3 = 7
         r4 = 0
         call ringbuf_output
         r1 = map[events] ll
         r2 = 3
         r3 = 0
         call ringbuf_reserve
         if r0 == 0 goto out
         *(u8 *)(r0 + 0) = 1
         *(u8 *)(r0 + 1) = 2
         *(u8 *)(r0 + 2) = 3
         r1 = r0
         r2 = 0
         call ringbuf_submit
         r1 = map[events] ll
         r2 = 3
         r3 = 0
         call ringbuf_reserve
         if r0 == 0 goto out
         r1 = r0
         r2 = 0
         call ringbuf_discard
         out:
         r0 = 2
         exit";
    let run = run(text, (0..500).map(|id| frame(id, &PACKET)).collect());
    assert_eq!(run.recorder.events.len(), 1000);
    for (id, pair) in (0..).zip(run.recorder.events.chunks(2)) {
        assert_eq!((pair[0].packet_id, pair[0].map), (id, 1));
        assert_eq!(pair[0].bytes, [0x44, 0x33, 0x22, 0x11, 0, 0, 0]);
        assert_eq!(pair[1].bytes, [1, 2, 3]);
    }
}

#[test]
fn kernel_gives_back_changed_packets_and_metadata() {
    if !kernel_is_here() {
        return;
    }
    let move_by = |helper: &str, delta: i32| format!("r2 = {delta}\ncall {helper}\nw0 &= 3\nexit");
    let run_one = |text: &str| run(text, vec![frame(0, &PACKET)]).frames.remove(0);
    let longer = run_one(&move_by("xdp_adjust_head", -20));
    assert_eq!(longer.len(), 80);
    assert_eq!(longer.packet()[20..], PACKET);
    let shorter = run_one(&move_by("xdp_adjust_head", 14));
    assert_eq!(shorter.packet(), PACKET[14..]);
    let cut = run_one(&move_by("xdp_adjust_tail", -10));
    assert_eq!(cut.packet(), PACKET[..50]);
    let grown = run_one(&move_by("xdp_adjust_tail", 10));
    assert_eq!(grown.packet(), [&PACKET[..], &[0; 10]].concat());
    let with_metadata = run_one(
        "r6 = r1
         r2 = -8
         call xdp_adjust_meta
         r1 = *(u32 *)(r6 + 8)
         r2 = *(u32 *)(r6 + 0)
         r3 = r1
         r3 += 8
         if r3 > r2 goto out
         *(u32 *)(r1 + 0) = 5
         *(u32 *)(r1 + 4) = 6
         out:
         r0 = 2
         exit",
    );
    assert_eq!(with_metadata.metadata(), [5, 0, 0, 0, 6, 0, 0, 0]);
    assert_eq!(with_metadata.packet(), PACKET);
}

#[test]
fn kernel_takes_metadata_and_long_packets() {
    if !kernel_is_here() {
        return;
    }
    // Metadata goes in: its first byte is returned.
    let text = "r2 = *(u32 *)(r1 + 8)
         r3 = *(u32 *)(r1 + 0)
         r4 = r2
         r4 += 1
         r0 = 99
         if r4 > r3 goto out
         r0 = *(u8 *)(r2 + 0)
         out:
         exit";
    let mut with_metadata = frame(0, &PACKET);
    let data = with_metadata.data();
    with_metadata.memory_mut()[data - 4..data].copy_from_slice(&[7, 8, 9, 10]);
    let end = with_metadata.data_end();
    with_metadata.set_bounds(data - 4, data, end);
    let run_metadata = run(text, vec![with_metadata, frame(1, &PACKET)]);
    let retvals: Vec<u32> = run_metadata
        .outcomes
        .iter()
        .map(|outcome| outcome.retval)
        .collect();
    assert_eq!(retvals, [7, 99]);
    assert_eq!(run_metadata.frames[0].metadata(), [7, 8, 9, 10]);
    assert_eq!(run_metadata.frames[0].packet(), PACKET);
    // A packet with fragments comes back whole, and cut.
    let long: Vec<u8> = (0..9000).map(|index| index as u8).collect();
    let text = ".program cut xdp.frags
         r6 = r1
         call xdp_get_buff_len
         r7 = r0
         r1 = r6
         r2 = -100
         call xdp_adjust_tail
         r0 = r7
         exit";
    let run_long = run(text, vec![frame(0, &long), frame(1, &long)]);
    assert_eq!(run_long.outcomes[1].retval, 9000);
    assert_eq!(run_long.frames[1].packet(), long[..8900]);
}

#[test]
fn kernel_refuses_packets_by_length() {
    if !kernel_is_here() {
        return;
    }
    let run = run("r0 = 2\nexit", vec![frame(0, &[0; 13]), frame(1, &[0; 14])]);
    assert_eq!(
        run.outcomes[0].refused.as_deref(),
        Some("the kernel's test-run takes 14 to 73152 bytes, not 13")
    );
    assert_eq!(run.outcomes[1].refused, None);
}

#[test]
fn kernel_time_is_the_packets() {
    if !kernel_is_here() {
        return;
    }
    for helper in ["ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns"] {
        let text = format!(
            ".license \"GPL\"
             .map times array key 4 value 8 max 1
             call {helper}
             r6 = r0
             *(u32 *)(r10 - 4) = 0
             r2 = r10
             r2 += -4
             r1 = map[times] ll
             call map_lookup_elem
             if r0 == 0 goto out
             *(u64 *)(r0 + 0) = r6
             out:
             r0 = 2
             exit"
        );
        let run = run(&text, vec![frame(5, &PACKET)]);
        let expected = ENVIRONMENT.start_ns + 5_000;
        assert_eq!(
            plain(&run.maps[0], &[0; 4]),
            Some(expected.to_le_bytes().to_vec()),
            "{helper}"
        );
    }
    let text = ".license \"GPL\"\ncall ktime_get_tai_ns\nexit";
    let tai = run_module(
        &KernelBackend::default(),
        &module(text),
        vec![frame(0, &PACKET)],
    );
    assert_eq!(tai.outcomes[0].retval, ENVIRONMENT.start_ns as u32);
    let run = run("call jiffies64\nexit", vec![frame(0, &PACKET)]);
    let expected = Environment::jiffies(ENVIRONMENT.start_ns);
    assert_eq!(run.outcomes[0].retval, expected as u32);
}

#[test]
fn kernel_random_numbers_are_the_environments() {
    if !kernel_is_here() {
        return;
    }
    let text = "call get_prandom_u32
         r6 = r0
         call get_prandom_u32
         r6 <<= 1
         r0 ^= r6
         exit";
    let run = run(text, (0..100).map(|id| frame(id, &PACKET)).collect());
    for (id, outcome) in (0..).zip(&run.outcomes) {
        let mut random = ENVIRONMENT.random(id);
        let expected = (random.next_u32() << 1) ^ random.next_u32();
        assert_eq!(outcome.retval, expected, "packet {id}");
    }
}

#[test]
fn kernel_rewrites_loops_subprograms_and_callbacks() {
    if !kernel_is_here() {
        return;
    }
    // More code than a 16-bit branch spans.
    let calls = "call get_prandom_u32\n".repeat(2000);
    let text = format!("r0 = 0\nif r1 == 0 goto out\n{calls}out:\nexit");
    let expected = |calls| {
        let mut random = ENVIRONMENT.random(0);
        (0..calls).map(|_| random.next_u32()).last()
    };
    let long = run(&text, vec![frame(0, &PACKET)]);
    assert_eq!(Some(long.outcomes[0].retval), expected(2000));
    let text = "r6 = 0
         again:
         call number
         r6 += 1
         if r6 != 7 goto again
         exit
         number:
         call get_prandom_u32
         exit";
    let subprogram = run(text, vec![frame(0, &PACKET)]);
    assert_eq!(Some(subprogram.outcomes[0].retval), expected(7));
    let text = "*(u32 *)(r10 - 4) = 0
         r1 = 5
         r2 = func number ll
         r3 = r10
         r3 += -4
         r4 = 0
         call loop
         r0 = *(u32 *)(r10 - 4)
         exit
         number:
         r6 = r2
         call get_prandom_u32
         *(u32 *)(r6 + 0) = r0
         r0 = 0
         exit";
    let callback = run(text, vec![frame(0, &PACKET)]);
    assert_eq!(Some(callback.outcomes[0].retval), expected(5));
}

#[test]
fn kernel_queues_have_their_cpu_and_their_values() {
    if !kernel_is_here() {
        return;
    }
    let text = ".map counters percpu_array key 4 value 8 max 1
         r6 = r1
         *(u32 *)(r10 - 4) = 0
         r2 = r10
         r2 += -4
         r1 = map[counters] ll
         call map_lookup_elem
         if r0 == 0 goto out
         r1 = 1
         lock *(u64 *)(r0 + 0) += r1
         out:
         call get_smp_processor_id
         r0 <<= 16
         r1 = *(u32 *)(r6 + 16)
         r0 |= r1
         r1 = *(u32 *)(r6 + 12)
         r1 <<= 8
         r0 |= r1
         exit";
    let module = module(text);
    let instance = match load(&KernelBackend::default(), &module, 2) {
        Ok(instance) => instance,
        // A machine with one CPU.
        Err(BackendError::Missing { reason, .. }) => return eprintln!("skipped: {reason}"),
        Err(error) => panic!("{error}"),
    };
    for queue in 0..2 {
        let mut frames: Vec<Frame> = (0..=u64::from(queue))
            .map(|id| frame(id, &PACKET))
            .collect();
        for frame in &mut frames {
            frame.receive.queue = queue;
            frame.receive.ingress_ifindex = 3;
        }
        let mut outcomes = Vec::new();
        let mut worker = instance.worker(QueueId(queue)).unwrap();
        worker.run(&mut frames, &mut outcomes, None).unwrap();
        assert_eq!(outcomes[0].retval, queue << 16 | 3 << 8 | queue);
    }
    let maps = instance.maps().unwrap();
    let value = |count: u64| count.to_le_bytes().to_vec();
    assert_eq!(
        maps[0].entries[0].value,
        MapValue::PerQueue(vec![value(1), value(2)])
    );
}

#[test]
fn kernel_queues_run_at_the_same_time() {
    if !kernel_is_here() {
        return;
    }
    let text = ".license \"GPL\"
         .map events ringbuf max 65536
         .map ports devmap key 4 value 4 max 4
         .entry 00000000 = 02000000
         .entry 01000000 = 03000000
         call get_prandom_u32
         r6 = r0
         *(u32 *)(r10 - 4) = r0
         r1 = map[events] ll
         r2 = r10
         r2 += -4
         r3 = 4
         r4 = 0
         call ringbuf_output
         call get_smp_processor_id
         r2 = r0
         r1 = map[ports] ll
         r3 = 0
         call redirect_map
         exit";
    let module = module(text);
    let instance = match load(&KernelBackend::default(), &module, 2) {
        Ok(instance) => instance,
        // A machine with one CPU.
        Err(BackendError::Missing { reason, .. }) => return eprintln!("skipped: {reason}"),
        Err(error) => panic!("{error}"),
    };
    let run_queue = |queue: u32| {
        let mut worker = instance.worker(QueueId(queue)).unwrap();
        for batch in 0..20 {
            let ids = (0..50).map(|id| 2 * (50 * batch + id) + u64::from(queue));
            let mut frames: Vec<Frame> = ids.map(|id| frame(id, &PACKET)).collect();
            for frame in &mut frames {
                frame.receive.queue = queue;
            }
            let mut outcomes = Vec::new();
            let mut recorder = Recorder::default();
            worker
                .run(&mut frames, &mut outcomes, Some(&mut recorder))
                .unwrap();
            assert_eq!(recorder.events.len(), frames.len());
            let results = frames.iter().zip(&outcomes).zip(&recorder.events);
            for ((frame, outcome), event) in results {
                let random = ENVIRONMENT.random(frame.packet_id).next_u32();
                assert_eq!(event.packet_id, frame.packet_id);
                assert_eq!(event.bytes, random.to_le_bytes());
                let redirect = outcome.redirect.expect("a redirect");
                assert_eq!((redirect.map, redirect.key), (Some(1), Some(queue)));
            }
        }
    };
    std::thread::scope(|scope| {
        for queue in 0..2 {
            scope.spawn(move || run_queue(queue));
        }
    });
}

#[test]
fn kernel_leaves_the_calling_thread_as_it_was() {
    if !kernel_is_here() {
        return;
    }
    let state = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let cpus = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed:"));
        let namespace = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        (cpus.map(str::to_owned), namespace)
    };
    let before = state();
    run("r0 = 2\nexit", vec![frame(0, &PACKET)]);
    assert_eq!(state(), before);
}

#[test]
fn kernel_refusals_name_program_instruction_and_reason() {
    if !kernel_is_here() {
        return;
    }
    let module = module(
        "r2 = *(u32 *)(r1 + 0)
         r6 = r1
         call ktime_get_ns
         r0 = *(u8 *)(r2 + 0)
         exit",
    );
    let Err(BackendError::Refused { reasons, log, .. }) =
        load(&KernelBackend::default(), &module, 1)
    else {
        panic!("the verifier refuses it");
    };
    assert_eq!((reasons[0].program, reasons[0].insn), (0, Some(3)));
    assert_eq!(reasons[0].message, "R2 !read_ok");
    assert!(log.contains("3: (71)"), "{log}");
}

#[test]
fn kernel_refusals_show_source_lines() {
    if !kernel_is_here() {
        return;
    }
    let object = include_bytes!("../../../programs/limiter/limiter.o");
    let mut module = load_object(object, "limiter").expect("the object loads");
    // In its place the program reads behind its stack.
    let insns = &mut module.programs[0].insns;
    let call = insns
        .iter()
        .position(|insn| matches!(insn, Insn::Call { .. }));
    let call = call.expect("the program calls something");
    insns[call] = Insn::Load {
        size: Size::B,
        signed: false,
        dst: Reg::R0,
        base: Reg::R10,
        off: 8,
    };
    let line = module.programs[0].line_of(call).expect("a line").clone();
    let Err(BackendError::Refused { reasons, log, .. }) =
        load(&KernelBackend::default(), &Arc::new(module), 1)
    else {
        panic!("the verifier refuses it");
    };
    assert_eq!(reasons[0].insn, Some(call), "{log}");
    // The kernel leaves folders out.
    let file = line.file.rsplit('/').next().expect("a file name");
    let place = format!("@ {file}:{}", line.line);
    assert!(log.contains(&place), "{place} is not in {log}");
}

#[test]
fn kernel_refuses_what_it_cannot_run() {
    if !kernel_is_here() {
        return;
    }
    let message = |text: &str| match load(&KernelBackend::default(), &module(text), 1) {
        Err(BackendError::Refused { reasons, .. }) => reasons[0].message.clone(),
        other => panic!("refused, not {:?}", other.err()),
    };
    assert_eq!(
        message(".program p raw\nr0 = 0\nexit"),
        "p is of no type that Linux has"
    );
    assert_eq!(
        message(".program p xdp/devmap\nr0 = 2\nexit"),
        "p is a devmap or cpumap program, which the kernel does not test-run"
    );
    assert_eq!(
        message(
            ".map m devmap key 4 value 8 max 1\n.entry 00000000 = 0200000001000000\nr0 = 2\nexit"
        ),
        "map m: an entry names a program to run behind it, which test-run does not do"
    );
    assert_eq!(
        message("r1 = map[3] ll\nr0 = 2\nexit"),
        "map 3 is not among the module's maps"
    );
}

#[test]
fn kernel_needs_a_cpu_for_each_queue() {
    if !kernel_is_here() {
        return;
    }
    let error = load(&KernelBackend::default(), &module("r0 = 2\nexit"), 4096)
        .err()
        .expect("no machine has that many");
    let BackendError::Missing { reason, .. } = error else {
        panic!("missing, not {error:?}");
    };
    assert!(
        reason.starts_with("4096 RX queues need as many CPUs"),
        "{reason}"
    );
}

#[test]
fn kernel_map_dumps_are_the_map_sets_contents() {
    if !kernel_is_here() {
        return;
    }
    let text = ".map array array key 4 value 5 max 3000
         .entry 02010000 = 0102030405
         .map hash hash key 3 value 2 max 5000
         .entry 010203 = 0405
         .entry 000203 = 0607
         .map counters percpu_array key 4 value 3 max 2
         .entry 01000000 = 010203
         .map flows percpu_hash key 2 value 9 max 4
         .entry 0102 = 010203040506070809
         .map routes lpm_trie key 8 value 1 max 8 flags no_prealloc
         .entry 180000000a000100 = 01
         .entry 080000000a000000 = 02
         .map ports devmap key 4 value 8 max 4
         .entry 03000000 = 0300000000000000
         .map cpus cpumap key 4 value 4 max 4
         .entry 00000000 = 40000000
         .map jumps prog_array key 4 value 4 max 4
         .entry 02000000 = program main
         .map constants array key 4 value 4 max 1 flags rdonly_prog frozen
         .entry 00000000 = 05060708
         .map hidden hash key 4 value 4 max 4 flags rdonly
         .entry 00000000 = 05060708
         .program main xdp
         r0 = 2
         exit";
    let module = module(text);
    let maps = iom_core::map::MapSet::create(&module.maps, 1).unwrap();
    let dumped = run_module(&KernelBackend::default(), &module, vec![]).maps;
    for (map, dumped) in maps.iter().zip(dumped) {
        let MapSpec { name, map_type, .. } = map.spec();
        assert_ne!(*map_type, MapType::Unspec);
        assert_eq!(dumped, map.contents(), "{name}");
    }
}

#[test]
fn kernel_bloom_filters_take_the_same_values_for_members() {
    if !kernel_is_here() {
        return;
    }
    // Twelve members in a filter of few bits: many more values pass for one; both have the same.
    let text = ".map seen bloom_filter key 0 value 4 max 1
         .map passed array key 4 value 4 max 256
         r6 = 0
    add:
         *(u32 *)(r10 - 4) = r6
         r1 = map[seen] ll
         r2 = r10
         r2 += -4
         r3 = 0
         call bpf_map_push_elem
         r6 += 1
         if r6 < 12 goto add
         r6 = 0
    next:
         *(u32 *)(r10 - 4) = r6
         r1 = map[seen] ll
         r2 = r10
         r2 += -4
         call bpf_map_peek_elem
         *(u32 *)(r10 - 8) = r0
         r1 = map[passed] ll
         r2 = r10
         r2 += -4
         r3 = r10
         r3 += -8
         r4 = 0
         call bpf_map_update_elem
         r6 += 1
         if r6 < 256 goto next
         r0 = 2
         exit";
    let ran = crate::support::run(text, vec![crate::support::frame(0, &[0; 60])]);
    let passed = &ran.maps[1].entries;
    let found = |value: &MapValue| *value == MapValue::Plain(vec![0; 4]);
    let members = passed.iter().filter(|entry| found(&entry.value)).count();
    assert!((13..256).contains(&members), "{members} pass");
}
