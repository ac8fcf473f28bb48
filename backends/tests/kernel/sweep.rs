//! Helpers with many arguments, wrong ones among them: the interpreter returns and leaves what the
//! kernel does. Arguments come from the packet's first bytes, so that one program tries them all.

use iom_core::abi::Frame;

use crate::support::{frame, kernel_is_here, run};

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Mostly near zero, sometimes far away.
    fn delta(&mut self) -> i32 {
        let reach = [8, 64, 300, 4096, 80_000][self.below(5) as usize];
        let delta = self.below(2 * reach + 1) as i32 - reach as i32;
        if self.below(2) == 0 {
            delta & !3
        } else {
            delta
        }
    }
}

/// A packet of `len` bytes that begins with the arguments.
fn with_arguments(packet_id: u64, len: usize, arguments: &[i32]) -> Frame {
    let mut packet: Vec<u8> = (0..len).map(|index| (index * 7) as u8).collect();
    let bytes: Vec<u8> = arguments
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    packet[..bytes.len()].copy_from_slice(&bytes);
    frame(packet_id, &packet)
}

/// Loads three arguments into `r7` to `r9`, the context into `r6`.
const ARGUMENTS: &str = "r6 = r1
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 12
    r0 = 99
    if r4 > r3 goto out
    r7 = *(s32 *)(r2 + 0)
    r8 = *(s32 *)(r2 + 4)
    r9 = *(s32 *)(r2 + 8)
    ";

/// Calls the helpers in turn with `r7` to `r9`; returns what they returned, a byte each.
fn calls(kind: &str, helpers: [&str; 3]) -> String {
    let call = |(register, helper)| {
        format!(
            "r1 = r6
             r2 = r{register}
             call {helper}
             r{register} = r0
             r{register} &= 255\n"
        )
    };
    let calls: String = (7..).zip(helpers).map(call).collect();
    format!(
        ".program sweep {kind}
         {ARGUMENTS}{calls}
         r7 <<= 16
         r8 <<= 8
         r0 = r7
         r0 |= r8
         r0 |= r9
         out:
         exit"
    )
}

#[test]
fn kernel_and_interpreter_move_borders_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(1);
    let orders = [
        ["xdp_adjust_head", "xdp_adjust_meta", "xdp_adjust_tail"],
        ["xdp_adjust_meta", "xdp_adjust_head", "xdp_adjust_meta"],
        ["xdp_adjust_tail", "xdp_adjust_tail", "xdp_adjust_head"],
        ["xdp_adjust_tail", "xdp_adjust_head", "xdp_adjust_tail"],
    ];
    for kind in ["xdp", "xdp.frags"] {
        for order in orders {
            let lengths = [14, 60, 1514, 3519, 3520, 3521, 7617, 9000, 73_152];
            let frames = (0..400)
                .map(|id| {
                    let len = lengths[numbers.below(lengths.len() as u64) as usize];
                    with_arguments(id, len, &[0; 3].map(|_| numbers.delta()))
                })
                .collect();
            run(&calls(kind, order), frames);
        }
    }
}

#[test]
fn kernel_and_interpreter_copy_bytes_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(2);
    for helper in ["xdp_load_bytes", "xdp_store_bytes"] {
        for len in [1, 64, 200] {
            // The whole buffer is written, so that what a failing call leaves is known.
            let clear: Vec<String> = (1..=25)
                .map(|word| format!("*(u64 *)(r10 - {}) = 5\n", 8 * word))
                .collect();
            let clear = clear.concat();
            let text = format!(
                ".program sweep xdp.frags
                 {ARGUMENTS}{clear}
                 r1 = r6
                 r2 = r7
                 r3 = r10
                 r3 += -200
                 r4 = {len}
                 call {helper}
                 r7 = r0
                 r1 = *(u64 *)(r10 - 200)
                 r2 = *(u64 *)(r10 - 8)
                 r1 ^= r2
                 r0 ^= r1
                 out:
                 exit"
            );
            let frames = (0..300)
                .map(|id| {
                    let len = [14, 60, 3520, 3600, 9000][numbers.below(5) as usize];
                    let near = len as i32 + numbers.below(500) as i32 - 400;
                    let offset = [near, numbers.delta(), 3400 + numbers.below(200) as i32];
                    with_arguments(id, len, &[offset[numbers.below(3) as usize]])
                })
                .collect();
            run(&text, frames);
        }
    }
}

#[test]
fn kernel_and_interpreter_change_maps_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(3);
    let types = [
        "array key 4 value 4 max 6",
        "percpu_array key 4 value 4 max 6",
        "hash key 4 value 4 max 6",
        "hash key 4 value 4 max 6 flags no_prealloc",
        "percpu_hash key 4 value 4 max 6",
        "lru_hash key 4 value 4 max 60",
        "lpm_trie key 8 value 4 max 6 flags no_prealloc",
    ];
    // r7: 0 looks up, 1 deletes, others update with that less 2 as flags; r8: key; r9: value.
    for map in types {
        let text = format!(
            ".map m {map}
             {ARGUMENTS}*(u32 *)(r10 - 8) = r8
             r8 >>= 3
             *(u32 *)(r10 - 4) = r8
             *(u32 *)(r10 - 16) = r9
             r1 = map[m] ll
             r2 = r10
             r2 += -8
             if r7 == 0 goto lookup
             if r7 == 1 goto delete
             r3 = r10
             r3 += -16
             r4 = r7
             r4 += -2
             call map_update_elem
             exit
             delete:
             call map_delete_elem
             exit
             lookup:
             call map_lookup_elem
             if r0 == 0 goto out
             r0 = *(u32 *)(r0 + 0)
             out:
             exit"
        );
        let frames = (0..500)
            .map(|id| {
                let operation = numbers.below(8) as i32;
                let key = numbers.below(40) as i32;
                with_arguments(id, 60, &[operation, key / 4, key])
            })
            .collect();
        run(&text, frames);
    }
}

#[test]
fn kernel_and_interpreter_fill_ring_buffers_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(4);
    // Two records of the wanted length and flags.
    let text = format!(
        ".map events ringbuf max 4096
         .map source array key 4 value 1024 max 1
         {ARGUMENTS}*(u32 *)(r10 - 4) = 0
         r1 = map[source] ll
         r2 = r10
         r2 += -4
         call map_lookup_elem
         if r0 == 0 goto out
         r7 &= 1023
         r1 = map[events] ll
         r2 = r0
         r3 = r7
         r4 = r8
         call ringbuf_output
         r7 = r0
         r1 = map[events] ll
         r2 = 3500
         r3 = r9
         call ringbuf_reserve
         if r0 == 0 goto none
         *(u8 *)(r0 + 3499) = 1
         r1 = r0
         r2 = r8
         call ringbuf_discard
         r7 |= 1
         none:
         r0 = r7
         out:
         exit"
    );
    let frames = (0..300)
        .map(|id| {
            let flags = [0, 0, 1, 2, 3, 4][numbers.below(6) as usize];
            let reserve_flags = i32::from(numbers.below(8) == 0);
            with_arguments(id, 60, &[numbers.delta(), flags, reserve_flags])
        })
        .collect();
    run(&text, frames);
}

#[test]
fn kernel_and_interpreter_redirect_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(5);
    let maps = [
        ".map ports devmap key 4 value 4 max 4\n.entry 01000000 = 03000000",
        ".map ports devmap_hash key 4 value 8 max 4\n.entry 01000000 = 0200000000000000",
        ".map ports cpumap key 4 value 4 max 4\n.entry 01000000 = 40000000",
    ];
    // Two calls; what the program returns is either's result or 4.
    for map in maps {
        let text = format!(
            "{map}
             {ARGUMENTS}r1 = map[ports] ll
             r2 = r7
             r2 &= 3
             r3 = r8
             call redirect_map
             r6 = r0
             r1 = r7
             r2 = r9
             if r7 s> 1 goto interface
             r2 = r7
             r1 = map[ports] ll
             r3 = r9
             call redirect_map
             goto finish
             interface:
             call redirect
             finish:
             r7 &= 7
             if r7 > 1 goto out
             r0 = 4
             out:
             exit"
        );
        let frames = (0..500)
            .map(|id| {
                let flags = |numbers: &mut Numbers| {
                    [0, 1, 2, 3, 4, 8, 16, 24, 32, -1][numbers.below(10) as usize]
                };
                let arguments = [
                    numbers.below(10) as i32 - 2,
                    flags(&mut numbers),
                    flags(&mut numbers),
                ];
                with_arguments(id, 60, &arguments)
            })
            .collect();
        run(&text, frames);
    }
}

#[test]
fn kernel_and_interpreter_tail_call_alike() {
    if !kernel_is_here() {
        return;
    }
    // A program that calls itself until the kernel stops it, another one, and what is not there.
    let text = format!(
        ".map jumps prog_array key 4 value 4 max 3
         .entry 00000000 = program first
         .entry 01000000 = program second
         .map calls array key 4 value 8 max 1
         .program first xdp
         {ARGUMENTS}*(u32 *)(r10 - 4) = 0
         r2 = r10
         r2 += -4
         r1 = map[calls] ll
         call map_lookup_elem
         if r0 == 0 goto out
         r1 = 1
         lock *(u64 *)(r0 + 0) += r1
         r1 = r6
         r2 = map[jumps] ll
         r3 = r7
         call tail_call
         r0 = 7
         out:
         exit
         .program second xdp
         r0 = 9
         exit"
    );
    let frames = (0..6)
        .map(|id| with_arguments(id, 60, &[id as i32 - 1]))
        .collect();
    run(&text, frames);
}

#[test]
fn kernel_and_interpreter_add_checksums_alike() {
    if !kernel_is_here() {
        return;
    }
    let mut numbers = Numbers(6);
    let text = format!(
        "{ARGUMENTS}r1 = *(u32 *)(r6 + 0)
         r2 = *(u32 *)(r6 + 4)
         r3 = r1
         r3 += 128
         if r3 > r2 goto out
         r7 &= 63
         r8 &= 63
         r2 = r7
         r3 = r1
         r3 += 64
         r4 = r8
         r5 = r9
         call csum_diff
         out:
         exit"
    );
    let frames = (0..500)
        .map(|id| {
            let size = |numbers: &mut Numbers| {
                let size = numbers.below(64) as i32;
                if numbers.below(4) == 0 {
                    size
                } else {
                    size & !3
                }
            };
            let sizes = [size(&mut numbers), size(&mut numbers)];
            with_arguments(id, 140, &[sizes[0], sizes[1], numbers.delta()])
        })
        .collect();
    run(&text, frames);
}
