//! What each of the verifier's errors means and what a C programmer does about it: one row for each
//! class. Holes in braces take what Linux prints there; `{reg}` is the number of a register.

/// A class of errors.
pub(super) struct Class {
    /// Linux's line, or a part of it.
    pub(super) said: &'static str,
    /// What is wrong.
    pub(super) what: &'static str,
    /// What to do about it.
    pub(super) fix: &'static str,
}

const fn class(said: &'static str, what: &'static str, fix: &'static str) -> Class {
    Class { said, what, fix }
}

const CHECK_PACKET: &str = "compare before the access, and leave the function if it fails: \
    `if ((void *)(header + 1) > data_end) return XDP_DROP;` (the pointer that is compared must be the one that is used, or a copy of it)";
const CHECK_NULL: &str =
    "check the pointer right after it was obtained: `if (!value) return XDP_PASS;`";
const NO_POINTER_MATH: &str = "pointers may only have numbers added and subtracted, in 64 bits: keep offsets in an integer and add it last";
const BOUND_INDEX: &str = "check the index just before it is used, `if (index >= SIZE) return XDP_DROP;`, or mask it, `index &= SIZE - 1;` with a power of two; make it unsigned, and keep the compiler from copying it in between (`asm volatile(\"\" : \"+r\"(index));`)";
const BOUND_LENGTH: &str = "bound the length from both sides before the call: `if (length == 0 || length > sizeof(buffer)) return XDP_DROP;` with an unsigned length";
const KEEP_CONTEXT: &str = "hand on the context as the program got it, and read its members with a fixed offset: `ctx->data`, not through a changed pointer";

/// All classes; the first that fits counts.
pub(super) const CLASSES: &[Class] = &[
    class(
        "R{reg} !read_ok",
        "register r{reg} is read, but nothing was written to it on this path",
        "initialise the variable where it is declared; after a call r1 to r5 are lost, so a value that is needed later must be kept in a variable (the compiler then uses r6 to r9 or the stack), and a function that returns a value must return one on every path",
    ),
    class(
        "invalid access to packet, off={off} size={size}, R{reg}(id={id},off={at},r={range})",
        "the program accesses {size} byte(s) of the packet at offset {off}, but on this path only {range} byte(s) are known to be there",
        CHECK_PACKET,
    ),
    class(
        "R{reg} offset is outside of the packet",
        "the program accesses the packet behind its end: a comparison said that so many bytes are not there",
        CHECK_PACKET,
    ),
    class(
        "R{reg} invalid mem access '{kind}_or_null'",
        "r{reg} may be NULL where it is dereferenced",
        CHECK_NULL,
    ),
    class(
        "R{reg} invalid mem access 'scalar'",
        "r{reg} is dereferenced, but it is a number, not a pointer",
        "use the pointer itself: a pointer loses its kind when it is stored to a part of the stack or to a map, computed in 32 bits, masked, or when a helper changed the packet (load ctx->data and ctx->data_end again after bpf_xdp_adjust_head and its kin)",
    ),
    class(
        "R{reg} invalid mem access 'pkt_end'",
        "data_end (r{reg}) is dereferenced; it may only be compared with",
        "access the packet through a pointer that comes from ctx->data",
    ),
    class(
        "R{reg} invalid mem access '{kind}'",
        "r{reg} is dereferenced, but a {kind} cannot be",
        "dereference pointers to the stack, the packet, map values, the context or memory that a helper returned, nothing else",
    ),
    class(
        "invalid access to map value, value_size={limit} off={off} size={size}",
        "the program accesses {size} byte(s) at offset {off} of a map value that has {limit}",
        BOUND_INDEX,
    ),
    class(
        "invalid access to map key, key_size={limit} off={off} size={size}",
        "the program accesses {size} byte(s) at offset {off} of a map key that has {limit}",
        BOUND_INDEX,
    ),
    class(
        "invalid access to memory, mem_size={limit} off={off} size={size}",
        "the program accesses {size} byte(s) at offset {off} of memory that has {limit}",
        BOUND_INDEX,
    ),
    class(
        "invalid access to map value pointer, value_size={limit} off={off}",
        "the address of a variable lies at offset {off} of data that has {limit} byte(s)",
        "take addresses only inside of a global variable",
    ),
    class(
        "R{reg} unbounded memory access, use",
        "the length in r{reg} has no upper bound",
        BOUND_LENGTH,
    ),
    class(
        "R{reg} unbounded memory access",
        "the offset of r{reg} has no upper bound",
        BOUND_INDEX,
    ),
    class(
        "R{reg} min value is negative, either use unsigned or",
        "the length in r{reg} may be negative",
        BOUND_LENGTH,
    ),
    class(
        "R{reg} min value is negative",
        "the offset of r{reg} may be negative",
        BOUND_INDEX,
    ),
    class(
        "R{reg} invalid zero-sized read",
        "the length in r{reg} may be 0, which this helper does not take",
        BOUND_LENGTH,
    ),
    class(
        "invalid zero-sized read",
        "a helper is handed memory of length 0",
        BOUND_LENGTH,
    ),
    class(
        "invalid unbounded variable-offset{verb} stack R{reg}",
        "the stack is accessed at an offset without bounds (r{reg})",
        BOUND_INDEX,
    ),
    class(
        "invalid variable-offset{verb} stack R{reg} var_off={bits} off={off} size={size}",
        "an access of {size} byte(s) to an array on the stack (r{reg}) may leave the array or the 512 bytes of stack",
        BOUND_INDEX,
    ),
    class(
        "invalid{verb} stack R{reg} off={off} size={size}",
        "an access of {size} byte(s) at fp{off} lies outside of the function's 512 bytes of stack",
        "access arrays on the stack only inside of their bounds; put large ones into a per-CPU array map",
    ),
    class(
        "misaligned {what}access off {off} size {size}",
        "an access of {size} bytes is not aligned to its size, and this has to be",
        "align members of the structure, copy the bytes with __builtin_memcpy, or, where it is the stack or an atomic operation, use an aligned variable of that size",
    ),
    class(
        "invalid bpf_context access off={off} size={size}",
        "this type of program may not access {size} byte(s) at offset {off} of its context",
        "read members of the context as they are declared (XDP: whole 4-byte members, never written; data and data_end only as 4-byte members, not sign-extended)",
    ),
    class(
        "dereference of modified {kind} ptr R{reg} off={off} disallowed",
        "the {kind} pointer in r{reg} was moved by {off} before it was used",
        KEEP_CONTEXT,
    ),
    class(
        "negative offset {kind} ptr R{reg} off={off} disallowed",
        "the {kind} pointer in r{reg} was moved by {off} before it was used",
        KEEP_CONTEXT,
    ),
    class(
        "variable {kind} access var_off={bits} disallowed",
        "the {kind} pointer has an offset that is only known at run time",
        KEEP_CONTEXT,
    ),
    class(
        "R{reg} pointer arithmetic on {kind}_or_null prohibited, null-check it first",
        "r{reg} may be NULL where something is added to it",
        CHECK_NULL,
    ),
    class(
        "R{reg} pointer arithmetic on {kind} prohibited",
        "r{reg} is a pointer of a kind ({kind}) that may not be moved",
        NO_POINTER_MATH,
    ),
    class(
        "R{reg} pointer {op} pointer prohibited",
        "two pointers are combined by {op}",
        NO_POINTER_MATH,
    ),
    class(
        "R{reg} 32-bit pointer arithmetic prohibited",
        "a pointer is computed in 32 bits, which cuts it",
        "keep pointers in pointer variables or in __u64, never in int or __u32",
    ),
    class(
        "R{reg} bitwise operator {op} on pointer prohibited",
        "bits of a pointer are changed ({op})",
        NO_POINTER_MATH,
    ),
    class(
        "R{reg} pointer arithmetic with {op} operator prohibited",
        "a pointer is used as a number ({op})",
        NO_POINTER_MATH,
    ),
    class(
        "R{reg} tried to subtract pointer from scalar",
        "a pointer is subtracted from a number",
        NO_POINTER_MATH,
    ),
    class(
        "R{reg} subtraction from stack pointer prohibited",
        "a number is subtracted from a pointer to the stack",
        "add a negative number instead, or index an array",
    ),
    class(
        "math between {kind} pointer and register with unbounded min value is not allowed",
        "a number that may be very negative is added to a {kind} pointer",
        BOUND_INDEX,
    ),
    class(
        "math between {kind} pointer and {number} is not allowed",
        "{number} is added to a {kind} pointer, which is too far",
        BOUND_INDEX,
    ),
    class(
        "{kind} pointer offset {off} is not allowed",
        "a {kind} pointer is moved by {off}, which is too far",
        BOUND_INDEX,
    ),
    class(
        "value {number} makes {kind} pointer be out of bounds",
        "a {kind} pointer may be moved by {number}, which is too far",
        BOUND_INDEX,
    ),
    class(
        "program of this type cannot use helper {name}#{number}",
        "programs of this type do not have the helper {name}",
        "use a helper that this program type has (`iom feature` lists them), or another program type",
    ),
    class(
        "invalid func unknown#{number}",
        "there is no helper with number {number}",
        "check the headers that the program was compiled with: the kernel that runs it may be older",
    ),
    class(
        "cannot call GPL-restricted function from non-GPL compatible program",
        "the helper is only for programs with a licence that is compatible with the GPL",
        "say so in the program: `char _license[] SEC(\"license\") = \"GPL\";`",
    ),
    class(
        "helper access to the packet is not allowed",
        "this helper does not take a pointer into the packet",
        "copy the bytes to the stack first and hand over the copy",
    ),
    class(
        "expected prog array map for tail call",
        "a tail call needs a map of type prog array",
        "hand over the prog array that holds the programs",
    ),
    class(
        "cannot pass map_type {type} into func {name}#{number}",
        "{name} does not work on a map of this type",
        "use the helper that belongs to the type: bpf_redirect_map for devmaps, cpumaps and xskmaps, bpf_tail_call for prog arrays, bpf_ringbuf_output for ring buffers, bpf_map_push_elem for queues and stacks",
    ),
    class(
        "{text} map forbidden, value_size={limit} off={off} size={size}",
        "the map's flags forbid programs to {text} it",
        "change the map's flags (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG), or do not access it; constants in .rodata cannot be written",
    ),
    class(
        "R{reg} type={kind}_or_null expected={expected}",
        "r{reg} may be NULL where the helper needs a pointer",
        CHECK_NULL,
    ),
    class(
        "R{reg} type={kind} expected={expected}",
        "argument {reg} of the call is a {kind} where the function takes: {expected}",
        "hand over what the function's documentation asks for: memory on the stack, in the packet or in a map value for pointers, the address of the map itself for a map, the unchanged ctx for a context",
    ),
    class(
        "R{reg} must be referenced when passed to release function",
        "r{reg} is given back, but it was not obtained by a call that has to be answered",
        "release only what bpf_sk_lookup_tcp, bpf_ringbuf_reserve and their kin returned, once",
    ),
    class(
        "R{reg} must have zero offset when passed to release func or trusted arg to kfunc",
        "r{reg} does not point to the start of what is given back",
        "keep the pointer that was returned and hand over exactly it",
    ),
    class(
        "func {name}#{number} reference has not been acquired before",
        "{name} gives back something that is not held",
        "release every reference once, on each path",
    ),
    class(
        "Unreleased reference id={id} alloc_insn={acquired}",
        "something that was acquired is not given back on this path",
        "call bpf_ringbuf_submit or bpf_ringbuf_discard, bpf_sk_release, or whatever belongs to it, before every return",
    ),
    class(
        "R{reg} is not a known constant'",
        "the size in r{reg} must be a constant",
        "write the size as a constant, or use bpf_ringbuf_output",
    ),
    class(
        "infinite loop detected at insn {insn}",
        "a loop comes back with nothing changed, so it never ends",
        "let the loop count something that its condition looks at; a loop over data needs an upper bound: `for (i = 0; i < MAX && …; i++)`",
    ),
    class(
        "BPF program is too large. Processed {count} insn",
        "the verifier gave up after a million instructions: there are too many paths",
        "shorten loops, move code into functions that are not inlined (`__noinline`, global) or into bpf_loop, merge branches, or split the program with tail calls; `iom verify` lists the hottest lines",
    ),
    class(
        "The sequence of {count} jumps is too complex.",
        "too many branches wait to be followed at the same time",
        "split long chains of conditions, or a large switch, into functions or tail calls",
    ),
    class(
        "back-edge from insn {from} to {insn}",
        "the program has a loop that this verifier does not take",
        "unroll the loop: `#pragma unroll`",
    ),
    class(
        "unreachable insn {insn}",
        "no path leads to instruction {insn}",
        "remove it; the compiler leaves such code behind `__builtin_unreachable` or undefined behaviour such as a read of a variable that was never set",
    ),
    class(
        "jump out of range from insn {from} to {insn}",
        "the jump at instruction {from} leaves the program or its function",
        "jump only inside of a function; to reach another one, call it",
    ),
    class(
        "jump into the middle of ldimm64 insn {insn}",
        "a jump leads into the second half of a 64-bit load",
        "jump to the instruction before or after it",
    ),
    class(
        "last insn is not an exit or jmp",
        "a function runs over its end",
        "end every function with exit or a jump; a C function that returns a value must return one on every path",
    ),
    class(
        "invalid insn idx {insn} insn_cnt {count}",
        "a path leaves the program at its end",
        "end every path with exit",
    ),
    class(
        "combined stack size of {frames} calls is {bytes}. Too large",
        "functions that call each other use {bytes} bytes of stack together; 512 is the limit",
        "make arrays on the stack smaller, move them to a per-CPU array map, or call fewer functions deep",
    ),
    class(
        "tail_calls are not allowed when call stack of previous frames is {bytes} bytes. Too large",
        "a function that makes tail calls is called with {bytes} bytes of stack in use; 256 is the limit",
        "use less stack in the callers, or make the tail call from the entry function",
    ),
    class(
        "the call stack of {frames} frames is too deep",
        "functions call each other more than eight deep",
        "inline some of them (`static __always_inline`), and do not recurse",
    ),
    class(
        "call to invalid destination",
        "a call does not lead to the start of a function",
        "call functions by their name",
    ),
    class(
        "cannot return stack pointer to the caller",
        "a function returns a pointer to its own stack, which is gone then",
        "let the caller hand over memory for the result",
    ),
    class(
        "cannot spill pointers to stack into stack frame of the caller",
        "a function stores a pointer to its own stack in its caller's stack",
        "let the caller own the memory",
    ),
    class(
        "invalid size of register spill",
        "a pointer is stored with fewer than 8 bytes, which cuts it",
        "store pointers in variables of pointer type",
    ),
    class(
        "invalid size of register fill",
        "a part of a pointer that was stored on the stack is read back",
        "read the pointer as a whole, or clear the memory before other use",
    ),
    class(
        "frame pointer is read only",
        "the frame pointer r10 is written",
        "copy it to another register first",
    ),
    class(
        "div by zero",
        "a number is divided by the constant 0",
        "check the divisor's definition",
    ),
    class(
        "invalid shift {count}",
        "a number is shifted by {count}, which is outside of its width",
        "shift 32-bit numbers by 0 to 31 and 64-bit numbers by 0 to 63",
    ),
    class(
        "BPF_ATOMIC stores into R{reg} {kind} is not allowed",
        "an atomic operation goes to a {kind}",
        "use atomic operations on map values and the stack only",
    ),
    class(
        "cannot write into packet",
        "this type of program may only read the packet",
        "use a program type that may write (XDP, tc)",
    ),
    class(
        "R{reg} cannot write into {kind}",
        "the program writes to a {kind}, which it may only read",
        "keep the value in a variable or a map",
    ),
    class(
        "write to change key R{reg} not allowed",
        "the program writes to a map key, which would break the map",
        "copy the key first",
    ),
    class(
        "R{reg} invalid {kind} access off={off} size={size}",
        "a {kind} has no member of {size} byte(s) at offset {off}",
        "read members of the structure as they are declared",
    ),
    class(
        "same insn cannot be used with different pointers",
        "one instruction follows a pointer to the context on one path and another kind of pointer on another",
        "write the two accesses separately, and keep the compiler from merging them (`barrier()` or `asm volatile(\"\")` between them)",
    ),
    class(
        "only read from {structure} is supported",
        "the map structure itself is written",
        "use bpf_map_update_elem, or the pointer that bpf_map_lookup_elem returns",
    ),
    class(
        "BPF_LD_[ABS|IND] instructions not allowed for this program type",
        "old packet loads (LD_ABS, LD_IND) are not for this type of program",
        "read through ctx->data after a comparison with ctx->data_end",
    ),
    class(
        "at the time of BPF_LD_ABS|IND R6 != pointer to skb",
        "an old packet load needs the context in r6",
        "put the context there first",
    ),
    class(
        "no direct value access support for this map type",
        "the address of a value is taken from a map that is no array",
        "look the value up with bpf_map_lookup_elem",
    ),
    class(
        "direct value offset of {off} is not allowed",
        "the address of a variable lies too far inside its data",
        "make the global data smaller",
    ),
    class(
        "Locking two bpf_spin_locks are not allowed",
        "a second lock is taken while one is held",
        "unlock the first one before",
    ),
    class(
        "bpf_spin_unlock without taking a lock",
        "a lock is given back that is not held on this path",
        "pair bpf_spin_lock and bpf_spin_unlock on every path",
    ),
    class(
        "bpf_spin_unlock of different lock",
        "another lock is given back than the one that is held",
        "unlock through the pointer that was locked",
    ),
    class(
        "function calls are not allowed while holding a lock",
        "a function is called while a spin lock is held",
        "do the call before the lock or after it; inline functions of the program",
    ),
    class(
        "{name} cannot be used inside bpf_spin_lock-ed region",
        "{name} is done while a spin lock is held",
        "unlock on every path before",
    ),
    class(
        "map '{name}' has no valid bpf_spin_lock",
        "the values of map {name} have no spin lock",
        "put a `struct bpf_spin_lock` into the value, and declare the map with its BTF types",
    ),
    class(
        "map '{name}' has to have BTF in order to use bpf_spin_lock",
        "the types of map {name} are unknown, so its lock is, too",
        "declare the map in .maps with __type(key, …) and __type(value, …)",
    ),
    class(
        "{field} cannot be accessed directly by load/store",
        "a {field} in a map value is read or written like plain data",
        "use it only through its helpers; copy the other members one by one",
    ),
    class(
        "R{reg} does not point to a readonly map'",
        "the format string (r{reg}) is not a constant",
        "declare it `static const char fmt[] = \"…\";`, so that it lies in .rodata",
    ),
    class(
        "R{reg} is not a constant address'",
        "the address of the string in r{reg} is not a constant",
        "use one constant string",
    ),
    class(
        "string is not zero-terminated",
        "a constant string has no zero byte at its end",
        "declare it as a C string",
    ),
    class(
        "Invalid format string",
        "the format string has something that the helper does not know",
        "use %d, %u, %x, %ld, %llu, %s, %p and their kin, as many as there are arguments",
    ),
    class(
        "R{reg} not a scalar value",
        "the program returns a pointer",
        "return a number: an XDP action",
    ),
    class(
        "At subprogram exit the register R{reg} is not a scalar value",
        "a global function returns a pointer",
        "return a number, or make the function static",
    ),
    class(
        "R{reg} is not a scalar",
        "r{reg} is a pointer where a number is needed",
        "hand over a number",
    ),
    class(
        "At callback return the register R{reg} has{known} should have been in [{least}, {most}]",
        "a callback returns something else than {least} to {most}",
        "return 0 to go on and 1 to stop",
    ),
    class(
        "the register R{reg} has{known} should have been in [{least}, {most}]",
        "the program returns a value outside of {least} to {most}",
        "return one of the values that this program type has",
    ),
    class(
        "callback function not static",
        "a callback is a global function",
        "declare it static",
    ),
    class(
        "callback function not allowed for map",
        "this type of map has no elements for a callback",
        "use an array or hash map",
    ),
    class(
        "arg#{index} expects pointer to ctx",
        "argument {index} of a global function must be the context",
        "hand over ctx unchanged",
    ),
    class(
        "arg#{index} is expected to be non-NULL",
        "argument {index} of a global function may be NULL",
        CHECK_NULL,
    ),
    class(
        "arg#{index} {rest}",
        "argument {index} of a global function has a type or tag that the verifier does not take",
        "use integers, the context, or pointers to structures of known size, or make the function static",
    ),
    class(
        "Arg#{index} type {kind} in {name}() is not supported yet.",
        "argument {index} of global function {name} has a type that the verifier does not take",
        "use integers, the context, or pointers to structures of known size, or make the function static",
    ),
    class(
        "missing btf func_info",
        "the object has no type information for its functions",
        "compile with -g",
    ),
    class(
        "kptr cannot be",
        "pointers into the kernel are kept in a map value, which is not supported here",
        "verify this program with --backend kernel",
    ),
    class(
        "calling kernel function with BTF id {id} is not supported",
        "a kernel function is called that is not known here",
        "verify this program with --backend kernel",
    ),
    class(
        "ldimm64 insn specifies invalid btf_id {id}.",
        "a variable of the kernel is used that is not known here",
        "verify this program with --backend kernel, or give --kernel-btf",
    ),
    class(
        "{what} not followed by this verifier",
        "the program uses a feature of the kernel that this verifier does not know",
        "verify this program with --backend kernel",
    ),
    class(
        "unknown opcode {opcode}",
        "there is no instruction with opcode 0x{opcode}",
        "compile for the kernel's instruction set: `-target bpf -mcpu=v3`",
    ),
    class(
        "R{reg} is invalid",
        "there is no register r{reg}",
        "registers are r0 to r10",
    ),
    class(
        "{form} uses reserved fields",
        "an instruction has something in fields that must be 0",
        "make the program with a compiler or assembler of this instruction set",
    ),
    class(
        "invalid bpf_ld_imm64 insn",
        "a 64-bit load lacks its second half",
        "make the program with a compiler or assembler of this instruction set",
    ),
    class(
        "unrecognized bpf_ld_imm64 insn",
        "a 64-bit load is of a kind that does not exist",
        "make the program with a compiler or assembler of this instruction set",
    ),
    class(
        "BPF_ATOMIC uses invalid atomic opcode {opcode}",
        "there is no atomic operation 0x{opcode}",
        "make the program with a compiler or assembler of this instruction set",
    ),
];
