//! What the verifier says of iterators, dynptrs and kernel functions, and what the kernel says:
//! the same verdict, the same lines, as many instructions and states.

use iom_backends::kernel::{KernelBackend, VerdictOptions};
use iom_core::module::Module;
use iom_core::verifier::{Options, verify};

use crate::support::{kernel_is_here, module};

const HEADER: &str = "
    .license \"GPL\"
    .map out array key 4 value 64 max 1
    .map data array key 4 value 64 max 1
    .map ring ringbuf key 0 value 0 max 4096
";

/// Both verdicts of an XDP program, as text.
fn verdicts(module: &Module) -> (String, String) {
    let program = &module.programs[0];
    let ours = verify(module, program, Options::default());
    let said = ours.refusal.as_ref().map(|refusal| {
        let lines: Vec<&str> = refusal.messages.iter().map(|line| line.trim()).collect();
        lines.join("; ")
    });
    let figures = |processed, total, peak| {
        format!("processed {processed:?} total_states {total:?} peak_states {peak:?}")
    };
    let ours_text = format!(
        "{}\n{}\nstack {}",
        said.as_deref().unwrap_or("accepted"),
        figures(
            Some(ours.processed),
            Some(ours.total_states),
            Some(ours.peak_states)
        ),
        ours.stack_depth
    );
    let theirs = KernelBackend::verdict(module, 0, VerdictOptions::default())
        .unwrap_or_else(|error| panic!("{error:?}"));
    let said = theirs.message();
    let theirs_text = format!(
        "{}\n{}\nstack {}",
        said.as_deref().unwrap_or("accepted"),
        figures(
            theirs.processed(),
            theirs.total_states(),
            theirs.peak_states()
        ),
        theirs.stack_depth().unwrap_or_default()
    );
    (ours_text, theirs_text)
}

/// Checks programs whose parts are these, each with a name.
fn check(cases: &[(&str, &str)]) {
    if !kernel_is_here() {
        return;
    }
    let mut differences = Vec::new();
    for (name, body) in cases {
        let text = format!("{HEADER}.program main xdp\n{body}\nr0 = 2\nexit");
        let (ours, theirs) = verdicts(&module(&text));
        if ours != theirs {
            differences.push(format!("{name}:\n-- ours\n{ours}\n-- kernel\n{theirs}\n"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

const NEW: &str = "r1 = r10\nr1 += -8\nr2 = 0\nr3 = 10\ncall bpf_iter_num_new\n";
const NEXT: &str = "r1 = r10\nr1 += -8\ncall bpf_iter_num_next\n";
const DESTROY: &str = "r1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\n";

#[test]
#[expect(clippy::too_many_lines, reason = "one program for each rule")]
fn kernel_iterators() {
    let join = |parts: &[&str]| parts.concat();
    let round = "again: r1 = r10\nr1 += -8\ncall bpf_iter_num_next\nif r0 == 0 goto done\n";
    let cases = [
        ("a loop", join(&[NEW, round, "goto again\ndone:", DESTROY])),
        (
            "a loop with a sum",
            join(&[
                "r6 = 0\n",
                NEW,
                round,
                "r1 = *(u32 *)(r0 + 0)\nr6 += r1\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "a loop that indexes a map value",
            join(&[
                "r7 = map[data] + 0 ll\n",
                NEW,
                round,
                "r1 = *(u32 *)(r0 + 0)\nif r1 > 63 goto again\nr2 = r7\nr2 += r1\n",
                "r3 = 1\n*(u8 *)(r2 + 0) = r3\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "an index that the loop carries",
            join(&[
                "r7 = map[data] + 0 ll\nr6 = 0\n",
                NEW,
                round,
                "if r6 > 63 goto again\nr2 = r7\nr2 += r6\n",
                "r3 = 1\n*(u8 *)(r2 + 0) = r3\nr6 += 1\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "an index that the loop carries without a bound",
            join(&[
                "r7 = map[data] + 0 ll\nr6 = 0\n",
                NEW,
                round,
                "r2 = r7\nr2 += r6\nr3 = 1\n*(u8 *)(r2 + 0) = r3\nr6 += 1\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "two loops inside each other",
            join(&[
                NEW,
                "outer: r1 = r10\nr1 += -8\ncall bpf_iter_num_next\nif r0 == 0 goto done\n",
                "r1 = r10\nr1 += -16\nr2 = 0\nr3 = 5\ncall bpf_iter_num_new\n",
                "inner: r1 = r10\nr1 += -16\ncall bpf_iter_num_next\nif r0 == 0 goto inside\n",
                "r6 = *(u32 *)(r0 + 0)\ngoto inner\n",
                "inside: r1 = r10\nr1 += -16\ncall bpf_iter_num_destroy\ngoto outer\ndone:",
                DESTROY,
            ]),
        ),
        ("never destroyed", join(&[NEW, round, "goto again\ndone:"])),
        ("left inside the loop", join(&[NEW, NEXT])),
        ("next without new", join(&[NEXT])),
        ("destroyed without new", join(&[DESTROY])),
        ("destroyed twice", join(&[NEW, DESTROY, DESTROY])),
        ("new twice", join(&[NEW, NEW, DESTROY])),
        ("next after destroy", join(&[NEW, DESTROY, NEXT])),
        (
            "no null check",
            join(&[NEW, NEXT, "r1 = *(u32 *)(r0 + 0)\n", DESTROY]),
        ),
        (
            "a write to the number",
            join(&[
                NEW,
                round,
                "r1 = 1\n*(u32 *)(r0 + 0) = r1\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "a read behind the number",
            join(&[
                NEW,
                round,
                "r1 = *(u64 *)(r0 + 0)\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
        (
            "the number after destroy",
            join(&[
                NEW,
                NEXT,
                "if r0 == 0 goto done\nr6 = r0\n",
                DESTROY,
                "r1 = *(u32 *)(r6 + 0)\ndone:",
            ]),
        ),
        (
            "a read of the iterator",
            join(&[NEW, "r1 = *(u64 *)(r10 - 8)\n", DESTROY]),
        ),
        (
            "a write to the iterator",
            join(&[NEW, "*(u64 *)(r10 - 8) = 0\n", DESTROY]),
        ),
        (
            "a byte written to the iterator",
            join(&[NEW, "*(u8 *)(r10 - 3) = 0\n", DESTROY]),
        ),
        (
            "the iterator as a helper's memory",
            join(&[
                NEW,
                "r1 = map[ring] ll\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall ringbuf_output\n",
                DESTROY,
            ]),
        ),
        (
            "not on the stack",
            "r1 = map[data] + 0 ll\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "not aligned",
            "r1 = r10\nr1 += -12\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "above the stack",
            "r1 = r10\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "below the stack",
            "r1 = r10\nr1 += -520\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "a pointer as a bound",
            "r1 = r10\nr1 += -8\nr2 = r10\nr3 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "an unset bound",
            "r1 = r10\nr1 += -8\nr2 = 1\ncall bpf_iter_num_new\n".to_owned(),
        ),
        (
            "an iterator of a caller",
            join(&[
                NEW,
                "r1 = r10\nr1 += -8\ncall sub\n",
                DESTROY,
                "r0 = 2\nexit\nsub: r6 = r1\nagain: r1 = r6\ncall bpf_iter_num_next\nif r0 != 0 goto again\n",
            ]),
        ),
        (
            "a loop that never ends beside an iterator",
            join(&[NEW, "here: goto here\n", DESTROY]),
        ),
        (
            "a pointer in the loop",
            join(&[
                "r6 = 0\n",
                NEW,
                round,
                "if r6 != 0 goto other\nr6 = 1\ngoto again\nother: r6 = r10\ngoto again\ndone:",
                DESTROY,
            ]),
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .collect();
    check(&cases);
}

const FROM_XDP: &str = "r1 = r6\nr2 = 0\nr3 = r10\nr3 += -16\ncall bpf_dynptr_from_xdp\n";
const START: &str = "r6 = r1\n";
const FROM_MEM: &str =
    "r1 = map[data] + 0 ll\nr2 = 64\nr3 = 0\nr4 = r10\nr4 += -16\ncall dynptr_from_mem\n";
const RESERVE: &str =
    "r1 = map[ring] ll\nr2 = 32\nr3 = 0\nr4 = r10\nr4 += -16\ncall ringbuf_reserve_dynptr\n";
const SUBMIT: &str = "r1 = r10\nr1 += -16\nr2 = 0\ncall ringbuf_submit_dynptr\n";
const CLONE: &str = "r1 = r10\nr1 += -16\nr2 = r10\nr2 += -32\ncall bpf_dynptr_clone\n";
const DATA: &str = "r1 = r10\nr1 += -16\nr2 = 0\nr3 = 8\ncall dynptr_data\n";

fn slice(kfunc: &str, buffer: &str, size: &str) -> String {
    format!("r1 = r10\nr1 += -16\nr2 = 0\n{buffer}\n{size}\ncall {kfunc}\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one program for each rule")]
fn kernel_dynptrs() {
    let read_slice = slice("bpf_dynptr_slice", "r3 = 0", "r4 = 8");
    let write_slice = slice("bpf_dynptr_slice_rdwr", "r3 = 0", "r4 = 8");
    let with_buffer = slice("bpf_dynptr_slice", "r3 = r10\nr3 += -24", "r4 = 8");
    let join = |parts: &[&str]| parts.concat();
    let cases = [
        ("of a packet", join(&[START, FROM_XDP])),
        ("of memory", FROM_MEM.to_owned()),
        ("reserved", join(&[RESERVE, SUBMIT])),
        ("reserved and leaked", RESERVE.to_owned()),
        ("submitted twice", join(&[RESERVE, SUBMIT, SUBMIT])),
        ("submitted, never made", SUBMIT.to_owned()),
        ("submitted, of memory", join(&[FROM_MEM, SUBMIT])),
        ("overwritten by another", join(&[RESERVE, RESERVE, SUBMIT])),
        ("of memory, twice", join(&[FROM_MEM, FROM_MEM])),
        ("overwritten", join(&[RESERVE, "*(u64 *)(r10 - 8) = 0\n", SUBMIT])),
        ("of memory, overwritten", join(&[FROM_MEM, "*(u8 *)(r10 - 1) = 0\n", DATA])),
        (
            "of memory, overwritten somewhere",
            join(&[
                FROM_MEM,
                "call get_prandom_u32\nr0 &= 15\nr1 = r10\nr1 += -24\nr1 += r0\n*(u8 *)(r1 + 0) = 0\n",
                DATA,
            ]),
        ),
        ("read from the stack", join(&[FROM_MEM, "r1 = *(u64 *)(r10 - 16)\n"])),
        (
            "filled by a helper",
            join(&[
                START,
                FROM_XDP,
                "r1 = r6\nr2 = 0\nr3 = r10\nr3 += -16\nr4 = 8\ncall xdp_load_bytes\n",
            ]),
        ),
        (
            "read by a helper",
            join(&[
                FROM_MEM,
                "r1 = map[ring] ll\nr2 = r10\nr2 += -16\nr3 = 16\nr4 = 0\ncall ringbuf_output\n",
            ]),
        ),
        ("size of none", "r1 = r10\nr1 += -16\ncall bpf_dynptr_size\n".to_owned()),
        ("size", join(&[FROM_MEM, "r1 = r10\nr1 += -16\ncall bpf_dynptr_size\n"])),
        ("second half", join(&[FROM_MEM, "r1 = r10\nr1 += -8\ncall bpf_dynptr_size\n"])),
        ("not aligned", join(&[FROM_MEM, "r1 = r10\nr1 += -12\ncall bpf_dynptr_size\n"])),
        ("not on the stack", "r1 = map[data] + 0 ll\ncall bpf_dynptr_size\n".to_owned()),
        ("a number", "r1 = 5\ncall bpf_dynptr_size\n".to_owned()),
        (
            "not at a constant offset",
            join(&[
                FROM_MEM,
                "call get_prandom_u32\nr0 &= 8\nr1 = r10\nr1 += -16\nr1 += r0\ncall bpf_dynptr_size\n",
            ]),
        ),
        ("data without a check", join(&[FROM_MEM, DATA, "r1 = *(u64 *)(r0 + 0)\n"])),
        (
            "data",
            join(&[FROM_MEM, DATA, "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\n*(u64 *)(r0 + 0) = r1\nout:"]),
        ),
        (
            "behind the data",
            join(&[FROM_MEM, DATA, "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 1)\nout:"]),
        ),
        (
            "data of unknown size",
            join(&[FROM_MEM, "call get_prandom_u32\nr1 = r10\nr1 += -16\nr2 = 0\nr3 = r0\ncall dynptr_data\n"]),
        ),
        (
            "data of a dynptr that was overwritten",
            join(&[
                FROM_MEM,
                DATA,
                "if r0 == 0 goto out\n*(u64 *)(r10 - 16) = 0\nr1 = *(u64 *)(r0 + 0)\nout:",
            ]),
        ),
        (
            "data after submit",
            join(&[
                RESERVE,
                DATA,
                "r6 = r0\n",
                SUBMIT,
                "if r6 == 0 goto out\nr1 = *(u64 *)(r6 + 0)\nout:",
            ]),
        ),
        (
            "data in a record, then submit",
            join(&[RESERVE, DATA, "if r0 == 0 goto out\n*(u64 *)(r0 + 0) = 1\nout:", SUBMIT]),
        ),
        ("memory on the stack", "r1 = r10\nr1 += -32\nr2 = 8\nr3 = 0\nr4 = r10\nr4 += -16\ncall dynptr_from_mem\n".to_owned()),
        ("memory that is too large", FROM_MEM.replace("r2 = 64", "r2 = 65")),
        ("a slice without a check", join(&[START, FROM_XDP, &read_slice, "r1 = *(u8 *)(r0 + 0)\n"])),
        ("a slice", join(&[START, FROM_XDP, &read_slice, "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nout:"])),
        ("behind a slice", join(&[START, FROM_XDP, &read_slice, "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 4)\nout:"])),
        ("a write to a slice", join(&[START, FROM_XDP, &read_slice, "if r0 == 0 goto out\n*(u8 *)(r0 + 0) = 1\nout:"])),
        (
            "a helper's write to a slice",
            join(&[START, FROM_XDP, &read_slice, "if r0 == 0 goto out\nr1 = r6\nr2 = 0\nr3 = r0\nr4 = 8\ncall xdp_load_bytes\nout:"]),
        ),
        ("a slice to write", join(&[START, FROM_XDP, &write_slice, "if r0 == 0 goto out\n*(u8 *)(r0 + 7) = 1\nout:"])),
        ("a slice with a buffer", join(&[START, FROM_XDP, &with_buffer, "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nout:"])),
        (
            "a slice of unknown size",
            join(&[
                START,
                FROM_XDP,
                "call get_prandom_u32\nr7 = r0\n",
                &slice("bpf_dynptr_slice", "r3 = 0", "r4 = r7"),
            ]),
        ),
        (
            "a buffer that is too small",
            join(&[START, FROM_XDP, &slice("bpf_dynptr_slice", "r3 = r10\nr3 += -24", "r4 = 32")]),
        ),
        (
            "a slice after the packet moved",
            join(&[
                START,
                FROM_XDP,
                &read_slice,
                "if r0 == 0 goto out\nr7 = r0\nr1 = r6\nr2 = -4\ncall xdp_adjust_head\nr1 = *(u64 *)(r7 + 0)\nout:",
            ]),
        ),
        (
            "a dynptr after the packet moved",
            join(&[START, FROM_XDP, "r1 = r6\nr2 = -4\ncall xdp_adjust_head\n", &read_slice]),
        ),
        (
            "a slice of a record after submit",
            join(&[RESERVE, &read_slice, "r6 = r0\n", SUBMIT, "if r6 == 0 goto out\nr1 = *(u64 *)(r6 + 0)\nout:"]),
        ),
        ("a clone", join(&[FROM_MEM, CLONE])),
        ("a clone of none", CLONE.to_owned()),
        (
            "a clone of a record",
            join(&[RESERVE, CLONE, "r1 = r10\nr1 += -32\nr2 = 0\ncall ringbuf_submit_dynptr\n"]),
        ),
        ("a clone after submit", join(&[RESERVE, CLONE, SUBMIT, "r1 = r10\nr1 += -32\ncall bpf_dynptr_size\n"])),
        ("a clone over itself", join(&[RESERVE, "r1 = r10\nr1 += -16\nr2 = r10\nr2 += -16\ncall bpf_dynptr_clone\n", SUBMIT])),
        ("adjusted", join(&[FROM_MEM, "r1 = r10\nr1 += -16\nr2 = 1\nr3 = 2\ncall bpf_dynptr_adjust\n"])),
        (
            "no context",
            join(&[START, "r1 = r10\nr2 = 0\nr3 = r10\nr3 += -16\ncall bpf_dynptr_from_xdp\n"]),
        ),
        (
            "a moved context",
            join(&[START, "r1 = r6\nr1 += 4\nr2 = 0\nr3 = r10\nr3 += -16\ncall bpf_dynptr_from_xdp\n"]),
        ),
        ("of a socket buffer", join(&[START, "r1 = r6\nr2 = 0\nr3 = r10\nr3 += -16\ncall bpf_dynptr_from_skb\n"])),
        (
            "in a subprogram",
            join(&[
                FROM_MEM,
                "r1 = r10\nr1 += -16\ncall sub\nr0 = 2\nexit\nsub: call bpf_dynptr_size\n",
            ]),
        ),
        (
            "on two paths",
            join(&[
                START,
                "call get_prandom_u32\nif r0 == 0 goto other\n",
                FROM_XDP,
                "goto both\nother:",
                FROM_MEM,
                "both: r1 = r10\nr1 += -16\ncall bpf_dynptr_size\n",
            ]),
        ),
        (
            "made in a loop",
            join(&[
                NEW.replace("-8", "-24").as_str(),
                "again: r1 = r10\nr1 += -24\ncall bpf_iter_num_next\nif r0 == 0 goto done\n",
                RESERVE,
                SUBMIT,
                "goto again\ndone: r1 = r10\nr1 += -24\ncall bpf_iter_num_destroy\n",
            ]),
        ),
        (
            "written",
            join(&[FROM_MEM, "*(u64 *)(r10 - 24) = 7\nr1 = r10\nr1 += -16\nr2 = 0\nr3 = r10\nr3 += -24\nr4 = 8\nr5 = 0\ncall dynptr_write\n"]),
        ),
        (
            "read",
            join(&[FROM_MEM, "r1 = r10\nr1 += -24\nr2 = 8\nr3 = r10\nr3 += -16\nr4 = 0\nr5 = 0\ncall dynptr_read\nr1 = *(u64 *)(r10 - 24)\n"]),
        ),
        (
            "read over itself",
            join(&[FROM_MEM, "r1 = r10\nr1 += -24\nr2 = 16\nr3 = r10\nr3 += -16\nr4 = 0\nr5 = 0\ncall dynptr_read\n"]),
        ),
        (
            "into the wrong map",
            "r1 = map[data] ll\nr2 = 32\nr3 = 0\nr4 = r10\nr4 += -16\ncall ringbuf_reserve_dynptr\n".to_owned(),
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .collect();
    check(&cases);
}
