//! `iom attach`, `status` and `detach` as a user types them, in a network and mount namespace of
//! their own: golden text, with the kernel's ids masked.

#![cfg(target_os = "linux")]

use std::process::Command;

use expect_test::expect;
use iom_backends::kernel::KernelBackend;

/// Hides a bpffs that is there, so that `iom` mounts its own, and makes a veth pair.
const PREPARE: &str = "umount /sys/fs/bpf 2>/dev/null
ip link add p0 index 2 type veth peer name x0 index 102
iom() { echo \"\\$ iom $*\"; \"$IOM\" \"$@\" 2>&1; code=$?; [ $code = 0 ] || echo \"exit code $code\"; }
";

/// What a shell prints in the namespaces, but for ids and tags; `None` where that cannot be had, with
/// the reason printed, which with `IOM_REQUIRE_KERNEL=1` is a failure.
fn session(script: &str) -> Option<String> {
    let output = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "sh",
            "-c",
            &format!("{PREPARE}{script}"),
        ])
        .env("IOM", env!("CARGO_BIN_EXE_iom"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output();
    let reason = match (KernelBackend::probe(), output) {
        (Err(error), _) => error.to_string(),
        (Ok(()), Err(error)) => format!("unshare (util-linux): {error}"),
        (Ok(()), Ok(output)) if output.stdout.is_empty() => {
            String::from_utf8_lossy(&output.stderr).into_owned()
        }
        (Ok(()), Ok(output)) => return Some(masked(&String::from_utf8_lossy(&output.stdout))),
    };
    let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {reason}");
    eprintln!("skipped: {reason}");
    None
}

/// Words after `id`, `link`, `tag` and `program` that are numbers.
fn masked(text: &str) -> String {
    let mut previous = "";
    let mut out = String::new();
    for part in text.split_inclusive([' ', '\n', ',', ')']) {
        let end = part.len() - 1;
        let (word, delimiter) = part.split_at(end);
        let is_number = word.starts_with(|c: char| c.is_ascii_hexdigit());
        let names = ["id", "(id", "link", "tag", "program"];
        if names.contains(&previous) && is_number && word.contains(|c: char| c.is_ascii_digit()) {
            out.push('N');
        } else {
            out.push_str(word);
        }
        out.push_str(delimiter);
        previous = word;
    }
    out
}

#[test]
fn kernel_live_attach_replace_status_detach() {
    let script = "
iom attach programs/drop/drop.o p0
iom attach programs/acl/acl.o p0
iom attach programs/acl/acl.o p0 --replace
iom status | grep -v ' run'
iom detach p0
iom detach p0
find /sys/fs/bpf/iom
iom attach programs/chain/chain.o p0 --mode skb --pin /sys/fs/bpf/mine
iom status p0 | grep -v ' run'
iom detach /sys/fs/bpf/mine
iom status p0
";
    let Some(text) = session(script) else {
        return;
    };
    expect![[r"
        $ iom attach programs/drop/drop.o p0
        p0: program drop (id N, native), pinned in /sys/fs/bpf/iom/p0
        $ iom attach programs/acl/acl.o p0
        iom: p0 has program drop (id N, native) already: --replace puts this one in its place, `iom detach p0` takes it off
        exit code 2
        $ iom attach programs/acl/acl.o p0 --replace
        p0: program acl (id N, native) in the place of id N, pinned in /sys/fs/bpf/iom/p0
        $ iom status
        p0 (index 2)
          native  program acl, id N, tag N
            link N, pinned in /sys/fs/bpf/iom/p0
            map /sys/fs/bpf/iom/p0/maps/rules
        $ iom detach p0
        p0: program acl (id N) taken off
        $ iom detach p0
        iom: p0 has no XDP program
        exit code 2
        /sys/fs/bpf/iom
        $ iom attach programs/chain/chain.o p0 --mode skb --pin /sys/fs/bpf/mine
        p0: program chain (id N, skb), pinned in /sys/fs/bpf/mine
        $ iom status p0
        p0 (index 2)
          skb     program chain, id N, tag N
            link N, pinned in /sys/fs/bpf/mine
            map /sys/fs/bpf/mine/maps/closed_ports
            map /sys/fs/bpf/mine/maps/depth
            map /sys/fs/bpf/mine/maps/policies
            map /sys/fs/bpf/mine/maps/progress
            map /sys/fs/bpf/mine/maps/stages
        $ iom detach /sys/fs/bpf/mine
        /sys/fs/bpf/mine: link N of program N removed
        $ iom status p0
        p0 (index 2)
          no XDP program
    "]].assert_eq(&text);
}

#[test]
fn kernel_live_what_cannot_be_attached() {
    let script = "
iom attach programs/drop/drop.o p1
iom attach programs/drop/drop.o p0 --mode hw
iom attach programs/drop/drop.o p0 --pin /tmp/elsewhere
iom attach programs/router/router.o p0
{ printf 'r0 = *(u64 *)(r1 + 4000)\\nexit\\n' | iom attach - p0; } | grep -v ' | '
log=$(mktemp)
\"$IOM\" attach programs/drop/drop.o p0 --foreground > $log &
for i in $(seq 100); do [ -s $log ] && break; sleep 0.05; done
iom status | sed -n 2p
kill $!; wait $! 2>/dev/null
cat $log; rm $log
iom status
";
    let Some(text) = session(script) else {
        return;
    };
    expect![[r"
        $ iom attach programs/drop/drop.o p1
        iom: no device p1 in this network namespace (`ip link` lists those there are)
        exit code 2
        $ iom attach programs/drop/drop.o p0 --mode hw
        iom: the kernel does not attach to p0 in mode hw: Invalid argument (os error 22); its driver runs XDP on the CPU but registers no offload device, as nfp does with BPF firmware; `iom check PROG -i FILE --backends sim,nfp` runs the program on a model of such a card
        exit code 2
        $ iom attach programs/drop/drop.o p0 --pin /tmp/elsewhere
        iom: /tmp/elsewhere: not in a bpffs, as /sys/fs/bpf is; only there links can be pinned
        exit code 2
        $ iom attach programs/router/router.o p0
        iom: map tx_ports, key 1: there is no interface 3 here; --seed-maps FILE puts others in its place
        exit code 2
        $ iom attach - p0
        iom: kernel refuses program main
          instruction 0, -:1: r0 = *(u64 *)(r1 + 4000)
            invalid bpf_context access off=4000 size=8
        exit code 3
        p0 (index 2)
        p0: program drop (id N, native), until this process ends
        $ iom status
        no device of this network namespace has an XDP program
    "]].assert_eq(&text);
}
