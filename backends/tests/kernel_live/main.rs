//! Programs attached to real (veth) devices between namespaces of our own: what comes out at the
//! far ends and in the stack is what the simulated device makes of the same frames.

#![cfg(target_os = "linux")]

mod network;
mod simulation;

use std::sync::Arc;

use iom_backends::kernel::KernelBackend;
use iom_backends::kernel::live::{self, AttachOptions, Attachment, Hold, LiveError, Mode};
use iom_core::abi::{Environment, LoadRequest, PortId};
use iom_core::isa::assemble;
use iom_core::map::MapSet;
use iom_core::module::Module;
use network::{ETHER_TYPE, Network, PacketSocket, receive_all};
use simulation::{Seen, simulate};

const PORTS: u32 = 2;

/// Does what the packet's bytes 14 and 15 say: an action, or 4 for a redirect through `ports` and 5
/// and 6 for one through a cpumap without and with a program; byte 15 is the key. 7 is a tail call,
/// which sends the packet back; 8 goes to all ports and 10 to all but where it came from. No two
/// entries of a broadcast name one port: frames that Linux sends to a device in one go all meet the
/// program of the first. Each program that sees the packet marks it, the one on egress with both interfaces.
const MODULE: &str = "
.license \"GPL\"
.map ports devmap key 4 value 8 max 4
.entry 00000000 = 0200000000000000
.entry 01000000 = 0300000000000000
.entry 02000000 = 0300000002000000
.map all devmap key 4 value 8 max 3
.entry 00000000 = 0200000000000000
.entry 02000000 = 0300000002000000
.map cpus cpumap key 4 value 8 max 1
.entry 00000000 = c000000000000000
.map worked cpumap key 4 value 8 max 1
.entry 00000000 = c000000003000000
.map jumps prog_array key 4 value 4 max 1
.entry 00000000 = program tail
.program main xdp
    r6 = r1
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 20
    r0 = 0
    if r4 > r3 goto out
    r0 = *(u8 *)(r2 + 14)
    r5 = *(u8 *)(r2 + 15)
    *(u8 *)(r2 + 16) = 0xa1
    r2 = r5
    r3 = 0
    r1 = map[ports] ll
    if r0 == 4 goto redirect
    r1 = map[cpus] ll
    if r0 == 5 goto redirect
    r1 = map[worked] ll
    if r0 == 6 goto redirect
    r1 = map[all] ll
    r3 = 8
    if r0 == 8 goto redirect
    r3 = 24
    if r0 == 10 goto redirect
    if r0 != 7 goto out
    r1 = r6
    r2 = map[jumps] ll
    r3 = 0
    call bpf_tail_call
    r0 = 1
out:
    exit
redirect:
    call bpf_redirect_map
    exit
.program egress xdp/devmap
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r0 = 1
    r4 = r2
    r4 += 24
    if r4 > r3 goto out
    *(u8 *)(r2 + 17) = 0xde
    r5 = *(u32 *)(r1 + 12)
    *(u8 *)(r2 + 22) = r5
    r5 = *(u32 *)(r1 + 20)
    *(u8 *)(r2 + 23) = r5
    r4 = *(u8 *)(r2 + 19)
    if r4 == 1 goto out
    r0 = 2
out:
    exit
.program worker xdp/cpumap
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r0 = 1
    r4 = r2
    r4 += 20
    if r4 > r3 goto out
    *(u8 *)(r2 + 17) = 0xc9
    r4 = *(u8 *)(r2 + 19)
    if r4 == 1 goto out
    r0 = 2
out:
    exit
.program tail xdp
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r0 = 1
    r4 = r2
    r4 += 20
    if r4 > r3 goto out
    *(u8 *)(r2 + 17) = 0x7a
    r0 = 3
out:
    exit
";

/// Bytes 14, 15 and 19 of the frames: what to do, key, and whether the program behind drops it.
const CASES: [(u8, u8, u8); 17] = [
    (0, 0, 0),
    (1, 0, 0),
    (2, 0, 0),
    (3, 0, 0),
    (4, 0, 0),
    (4, 1, 0),
    (4, 2, 0),
    (4, 2, 1),
    (4, 3, 0),
    (5, 0, 0),
    (6, 0, 0),
    (6, 0, 1),
    (7, 0, 0),
    (8, 0, 0),
    (8, 0, 1),
    (9, 0, 0),
    (10, 0, 0),
];

/// Each case three times on each port, of several lengths.
fn frames() -> Vec<(u32, Vec<u8>)> {
    let mut frames = Vec::new();
    for round in 0..3u8 {
        for (what, key, drop) in CASES {
            for port in 0..PORTS {
                let mut frame = vec![0; 60 + 200 * usize::from(round)];
                frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
                frame[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
                frame[14..16].copy_from_slice(&[what, key]);
                frame[18..22].copy_from_slice(&[round, drop, port as u8, frames.len() as u8]);
                frames.push((port, frame));
            }
        }
    }
    frames
}

fn module(text: &str) -> Arc<Module> {
    let module = assemble(text, "test.bpf").unwrap_or_else(|error| panic!("{error}"));
    Arc::new(module)
}

fn attach(module: &Arc<Module>, device: &str, mode: Option<Mode>) -> Result<Attachment, LiveError> {
    attach_with(module, device, mode, false)
}

fn attach_with(
    module: &Arc<Module>,
    device: &str,
    mode: Option<Mode>,
    replace: bool,
) -> Result<Attachment, LiveError> {
    let cpus = KernelBackend::cpus();
    let maps = MapSet::create(&module.maps, cpus).expect("the maps are created");
    let request = LoadRequest {
        module,
        entry: 0,
        maps: &maps,
        environment: Environment::default(),
        network: iom_core::abi::Network::empty(),
        ports: PORTS,
        queues: cpus,
    };
    let options = AttachOptions {
        device: device.to_owned(),
        mode,
        replace,
        hold: Hold::Process,
    };
    live::attach(&request, &options)
}

/// Runs a test with a network, on a thread of its own. Where that cannot be had, the reason is
/// printed, and with `IOM_REQUIRE_KERNEL=1` it is a failure.
fn with_network(test: fn(&Network)) {
    let run = || {
        let network = KernelBackend::probe()
            .map_err(|error| error.to_string())
            .and_then(|()| Network::create(PORTS));
        match network {
            Ok(network) => test(&network),
            Err(reason) => {
                let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
                assert!(!required, "IOM_REQUIRE_KERNEL=1, but {reason}");
                eprintln!("skipped: {reason}");
            }
        }
    };
    std::thread::scope(|scope| {
        let finished = scope.spawn(run).join();
        finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A program on every far end: into a veth without one, native transmission is lost silently.
fn pass_at_far_ends(network: &Network) -> Vec<Attachment> {
    network.enter_far();
    let pass = module("r0 = 2\nexit\n");
    (0..PORTS)
        .map(|port| attach(&pass, &format!("x{port}"), Some(Mode::Native)))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Sends frames into the ports while a module is attached there, and receives everywhere.
fn observe(network: &Network, module: &Arc<Module>, mode: Mode, expected: usize) -> Seen {
    let _pass = pass_at_far_ends(network);
    let far: Vec<_> = (0..PORTS).map(PacketSocket::open_far).collect();
    network.enter_near();
    let attached: Result<Vec<_>, _> = (0..PORTS)
        .map(|port| attach(module, &format!("p{port}"), Some(mode)))
        .collect();
    let attached = attached.unwrap_or_else(|error| panic!("{error}"));
    assert!(attached.iter().all(|attachment| attachment.mode == mode));
    let host = (0..PORTS).map(|port| PacketSocket::open(PortId(port).ifindex()));
    let senders = far.len();
    let sockets: Vec<_> = far.into_iter().chain(host).collect();
    for (port, frame) in frames() {
        sockets[port as usize].send(&frame);
    }
    let mut far = receive_all(&sockets, expected);
    let host = far.split_off(senders);
    Seen { far, host }
}

fn check_mode(network: &Network, mode: Mode) {
    let module = module(MODULE);
    let simulated = simulate(&module, PORTS, &frames()).sorted();
    let live = observe(network, &module, mode, simulated.count()).sorted();
    let counts = |seen: &Seen| {
        let count = |frames: &[Vec<Vec<u8>>]| frames.iter().map(Vec::len).collect::<Vec<_>>();
        (count(&seen.far), count(&seen.host))
    };
    // Of three rounds on two ports. Far end 0: its port's TX, devmap key 0 from both; far end 1: its
    // port's TX, keys 1 and 2 from both; each its port's tail calls. Broadcasts go to both
    // keys of their map, those without the ingress to the other port's. Stacks: pass, both cpumaps.
    // The rest is dropped.
    assert_eq!(counts(&simulated), (vec![27, 27], vec![9, 9]));
    assert_eq!(counts(&live), counts(&simulated), "{mode}");
    assert_eq!(live, simulated, "{mode}");
}

#[test]
fn kernel_live_native_as_simulated() {
    with_network(|network| check_mode(network, Mode::Native));
}

#[test]
fn kernel_live_skb_as_simulated() {
    with_network(|network| check_mode(network, Mode::Skb));
}

#[test]
fn kernel_live_replaces_in_place_and_ends_with_its_holder() {
    with_network(|network| {
        network.enter_near();
        let (drop_all, pass) = (module("r0 = 1\nexit\n"), module("r0 = 2\nexit\n"));
        let first = attach(&drop_all, "p0", None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(first.mode, Mode::Native);
        let busy = attach(&pass, "p0", None).unwrap_err();
        assert!(matches!(busy, LiveError::Busy { .. }), "{busy}");
        let other = attach_with(&pass, "p0", Some(Mode::Skb), true).unwrap_err();
        assert!(matches!(other, LiveError::OtherMode { .. }), "{other}");
        let second = attach_with(&pass, "p0", None, true).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (second.link, second.replaced),
            (first.link, Some(first.program))
        );
        let status = live::status(Some("p0")).unwrap_or_else(|error| panic!("{error}"));
        let programs = &status[0].programs;
        assert_eq!(
            (programs[0].id, programs[0].link),
            (second.program, Some(first.link))
        );
        drop((first, second));
        assert_eq!(
            live::status(None).unwrap_or_else(|error| panic!("{error}")),
            []
        );
    });
}

#[test]
fn kernel_live_refusals_say_what_to_do() {
    with_network(|network| {
        network.enter_near();
        let pass = module("r0 = 2\nexit\n");
        let message = |result: Result<Attachment, LiveError>| result.unwrap_err().to_string();
        let text = message(attach(&pass, "none", None));
        assert!(text.starts_with("no device none"), "{text}");
        let text = message(attach(&pass, "p0", Some(Mode::Hw)));
        assert!(
            text.contains("mode hw") && text.contains("iom check"),
            "{text}"
        );
        let text = message(attach(&pass, "lo", Some(Mode::Native)));
        assert!(text.contains("--mode skb"), "{text}");
        let absent = ".map m devmap key 4 value 4 max 1\n.entry 00000000 = 63000000\n";
        let text = message(attach(
            &module(&format!("{absent}.program p xdp\nr0 = 2\nexit\n")),
            "p0",
            None,
        ));
        assert!(text.contains("no interface 99"), "{text}");
        let text = live::detach("p0").unwrap_err().to_string();
        assert_eq!(text, "p0 has no XDP program");
    });
}
