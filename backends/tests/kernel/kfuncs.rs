//! Kernel functions and dynptrs on interpreter and kernel: whatever they return and leave is the
//! same.

use crate::support::{Run, frame, kernel_is_here, plain, run};

/// Runs one packet through a program that leaves results in a map `out` of 256 bytes, whose
/// address is in `r6`; its context is in `r7`. Gives the 64-bit words of the map.
fn results(maps: &str, body: &str, packet: &[u8]) -> Vec<i64> {
    let text = format!(
        ".license \"GPL\"
         .map out array key 4 value 256 max 1
         {maps}
         .program main xdp.frags
         r7 = r1
         r6 = map[out] + 0 ll
         {body}
         r0 = 2
         exit"
    );
    let run: Run = run(&text, vec![frame(0, packet)]);
    let value = plain(&run.maps[0], &[0; 4]).expect("the map has its value");
    let words = value.chunks_exact(8);
    words
        .map(|word| i64::from_le_bytes(word.try_into().expect("8 bytes")))
        .collect()
}

/// The low half as a signed number.
fn int(word: i64) -> i32 {
    word as i32
}

#[test]
fn kernel_iterates_over_numbers() {
    if !kernel_is_here() {
        return;
    }
    for (start, end, made, count, sum) in [
        (0, 5, 0, 5, 10),
        (-2, 2, 0, 4, -2),
        (3, 3, 0, 0, 0),
        (4, 3, -22, 0, 0),
        (0, (8 << 20) + 1, -7, 0, 0),
        (i32::MIN, i32::MIN + 2, 0, 2, i64::from(i32::MIN) * 2 + 1),
        (i32::MAX - 1, i32::MAX, 0, 1, i64::from(i32::MAX) - 1),
    ] {
        let words = results(
            "",
            &format!(
                "r1 = r10
                 r1 += -8
                 w2 = {start}
                 w3 = {end}
                 call bpf_iter_num_new
                 *(u64 *)(r6 + 0) = r0
                 again: r1 = r10
                 r1 += -8
                 call bpf_iter_num_next
                 if r0 == 0 goto done
                 r1 = *(u32 *)(r0 + 0)
                 r1 <<= 32
                 r1 s>>= 32
                 r2 = *(u64 *)(r6 + 8)
                 r2 += 1
                 *(u64 *)(r6 + 8) = r2
                 r2 = *(u64 *)(r6 + 16)
                 r2 += r1
                 *(u64 *)(r6 + 16) = r2
                 goto again
                 done: r1 = r10
                 r1 += -8
                 call bpf_iter_num_next
                 if r0 != 0 goto end
                 *(u64 *)(r6 + 24) = 1
                 end: r1 = r10
                 r1 += -8
                 call bpf_iter_num_destroy"
            ),
            &[0; 60],
        );
        assert_eq!(
            (int(words[0]), words[1], words[2], words[3]),
            (made, count, sum, 1),
            "{start} {end}"
        );
    }
}

/// Makes a dynptr of the packet at `fp - 16`; what that returned is in word 0.
const FROM_XDP: &str = "
    r1 = r7
    r2 = 0
    r3 = r10
    r3 += -16
    call bpf_dynptr_from_xdp
    *(u64 *)(r6 + 0) = r0
";

fn packet(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn kernel_dynptrs_of_packets() {
    if !kernel_is_here() {
        return;
    }
    let asks = |argument: u32, kfunc: &str, word: u32| {
        // Of a `bool`, the bits above the first byte are whatever was there.
        let size = if kfunc.contains("_is_") { "u8" } else { "u64" };
        format!(
            "r1 = r10\nr1 += -{argument}\ncall {kfunc}\n*({size} *)(r6 + {word}) = r0\n",
            word = 8 * word
        )
    };
    for (start, end) in [(0, 60), (10, 20), (20, 10), (60, 60), (0, 61), (-1, 3)] {
        let body = [
            FROM_XDP.to_owned(),
            asks(16, "bpf_dynptr_size", 1),
            asks(16, "bpf_dynptr_is_null", 2),
            asks(16, "bpf_dynptr_is_rdonly", 3),
            "r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall bpf_dynptr_clone\n".to_owned(),
            "*(u64 *)(r6 + 32) = r0\n".to_owned(),
            format!("r1 = r10\nr1 += -32\nr2 = {start}\nr3 = {end}\ncall bpf_dynptr_adjust\n"),
            "*(u64 *)(r6 + 40) = r0\n".to_owned(),
            asks(32, "bpf_dynptr_size", 6),
            asks(16, "bpf_dynptr_size", 7),
            // Eight bytes at 2 into the map, and back at 4.
            "r1 = r6\nr1 += 64\nr2 = 8\nr3 = r10\nr3 += -32\nr4 = 2\nr5 = 0\ncall dynptr_read\n"
                .to_owned(),
            "*(u64 *)(r6 + 72) = r0\n".to_owned(),
            "r1 = r10\nr1 += -32\nr2 = 4\nr3 = r6\nr4 = 8\nr5 = 0\ncall dynptr_write\n".to_owned(),
            "*(u64 *)(r6 + 80) = r0\n".to_owned(),
            "r1 = r10\nr1 += -32\nr2 = 0\nr3 = 4\ncall dynptr_data\n".to_owned(),
            "if r0 == 0 goto nodata\n*(u64 *)(r6 + 88) = 1\nnodata:".to_owned(),
        ];
        results("", &body.concat(), &packet(60));
    }
}

#[test]
fn kernel_null_and_refused_dynptrs() {
    if !kernel_is_here() {
        return;
    }
    let words = results(
        "",
        "r1 = r7
         r2 = 1
         r3 = r10
         r3 += -16
         call bpf_dynptr_from_xdp
         *(u64 *)(r6 + 0) = r0
         r1 = r10
         r1 += -16
         call bpf_dynptr_size
         *(u64 *)(r6 + 8) = r0
         r1 = r10
         r1 += -16
         call bpf_dynptr_is_null
         *(u8 *)(r6 + 16) = r0
         r1 = r10
         r1 += -16
         r2 = r10
         r2 += -32
         call bpf_dynptr_clone
         *(u64 *)(r6 + 24) = r0
         r1 = r6
         r1 += 64
         r2 = 8
         r3 = r10
         r3 += -32
         r4 = 0
         r5 = 0
         call dynptr_read
         *(u64 *)(r6 + 32) = r0
         r1 = r10
         r1 += -32
         r2 = 0
         r3 = 0
         call bpf_dynptr_adjust
         *(u64 *)(r6 + 40) = r0",
        &packet(60),
    );
    assert_eq!([words[0], words[1], words[3], words[5]].map(int), [-22; 4]);
    assert_eq!((words[2], words[4]), (1, -22));
}

/// Slices of packets with fragments: in one piece, over a border, and outside.
#[test]
fn kernel_slices_of_packets() {
    if !kernel_is_here() {
        return;
    }
    for len in [60, 3520, 9000] {
        for offset in [0, 10, 56, 60, 3512, 3515, 3520, 7616, 7612, 8990] {
            for (kfunc, buffer) in [
                ("bpf_dynptr_slice", true),
                ("bpf_dynptr_slice", false),
                ("bpf_dynptr_slice_rdwr", true),
                ("bpf_dynptr_slice_rdwr", false),
            ] {
                let buffer = if buffer {
                    "r3 = r10\nr3 += -32"
                } else {
                    "r3 = 0"
                };
                let write = if kfunc.ends_with("rdwr") {
                    "r1 = -1\n*(u32 *)(r0 + 2) = r1"
                } else {
                    ""
                };
                results(
                    "",
                    &format!(
                        "{FROM_XDP}
                         *(u64 *)(r10 - 32) = 0
                         r1 = r10
                         r1 += -16
                         r2 = {offset}
                         {buffer}
                         r4 = 8
                         call {kfunc}
                         if r0 == 0 goto none
                         r1 = *(u64 *)(r0 + 0)
                         *(u64 *)(r6 + 8) = r1
                         {write}
                         none: r1 = *(u64 *)(r10 - 32)
                         *(u64 *)(r6 + 16) = r1"
                    ),
                    &packet(len),
                );
            }
        }
    }
}

#[test]
fn kernel_dynptrs_of_memory() {
    if !kernel_is_here() {
        return;
    }
    for (size, flags) in [(16, 0), (0, 0), (16, 1), (64, 0)] {
        results(
            ".map data array key 4 value 64 max 1",
            &format!(
                "r1 = map[data] + 0 ll
                 r2 = {size}
                 r3 = {flags}
                 r4 = r10
                 r4 += -16
                 call dynptr_from_mem
                 *(u64 *)(r6 + 0) = r0
                 r1 = r10
                 r1 += -16
                 r2 = 5
                 r3 = r6
                 r4 = 6
                 r5 = 0
                 call dynptr_write
                 *(u64 *)(r6 + 8) = r0
                 r1 = r10
                 r1 += -16
                 r2 = 5
                 r3 = r6
                 r4 = 6
                 r5 = 1
                 call dynptr_write
                 *(u64 *)(r6 + 16) = r0
                 r1 = r10
                 r1 += -16
                 r2 = 8
                 r3 = 8
                 call dynptr_data
                 if r0 == 0 goto none
                 r1 = 77
                 *(u64 *)(r0 + 0) = r1
                 *(u64 *)(r6 + 24) = 1
                 none: r1 = r10
                 r1 += -16
                 r2 = 4
                 r3 = 0
                 r4 = 8
                 call bpf_dynptr_slice
                 if r0 == 0 goto end
                 r1 = *(u64 *)(r0 + 0)
                 *(u64 *)(r6 + 32) = r1
                 end:"
            ),
            &packet(60),
        );
    }
}

#[test]
fn kernel_dynptrs_of_ring_buffers() {
    if !kernel_is_here() {
        return;
    }
    for give_up in ["ringbuf_submit_dynptr", "ringbuf_discard_dynptr"] {
        for (size, flags) in [(24, 0), (24, 1), (5000, 0), (0, 0)] {
            let body = format!(
                "r1 = map[ring] ll
                 r2 = {size}
                 r3 = {flags}
                 r4 = r10
                 r4 += -16
                 call ringbuf_reserve_dynptr
                 *(u64 *)(r6 + 0) = r0
                 r1 = r10
                 r1 += -16
                 r2 = 4
                 r3 = r6
                 r3 += 100
                 r4 = 8
                 r5 = 0
                 call dynptr_write
                 *(u64 *)(r6 + 8) = r0
                 r1 = r10
                 r1 += -16
                 r2 = 0
                 r3 = 4
                 call dynptr_data
                 if r0 == 0 goto none
                 r1 = 305419896
                 *(u32 *)(r0 + 0) = r1
                 none: r1 = r10
                 r1 += -16
                 r2 = 12
                 r3 = 0
                 r4 = 12
                 call bpf_dynptr_slice_rdwr
                 if r0 == 0 goto end
                 r1 = 1
                 *(u64 *)(r0 + 0) = r1
                 *(u32 *)(r0 + 8) = r1
                 end: r1 = r10
                 r1 += -16
                 r2 = 0
                 call {give_up}
                 *(u64 *)(r6 + 16) = 1"
            );
            results(
                ".map ring ringbuf key 0 value 0 max 4096",
                &body,
                &packet(60),
            );
        }
    }
}
