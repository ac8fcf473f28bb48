//! A network namespace of our own, with one multi-queue veth for each simulated port, because
//! test-run takes only interfaces and queues that exist; and entering it with a pinned thread.
#![expect(unsafe_code, reason = "system calls")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use iom_core::abi::{Interface, Network, OTHER_INTERFACES_END, PortId};

use super::netlink::{Netlink, VethEnd};
use super::syscall::SyscallError;

/// Index of the other end of the first veth: out of the way of the ports.
const PEER_IFINDEX: u32 = OTHER_INTERFACES_END;
/// Interfaces beside the ports at most: making one costs about a millisecond.
const OTHERS_MAX: usize = 64;

/// What is in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layout {
    /// Ports.
    pub(super) ports: u32,
    /// Queues of each port.
    pub(super) queues: u32,
    /// Indexes of interfaces that devmaps name beside the ports.
    pub(super) others: BTreeSet<u32>,
    /// Routes and what belongs to them.
    pub(super) network: Network,
}

impl Layout {
    /// Indexes of all interfaces, and their queues.
    fn interfaces(&self) -> impl Iterator<Item = (u32, u32)> {
        let ports = (0..self.ports).map(|port| (PortId(port).ifindex(), self.queues));
        let others = self.others.iter().take(OTHERS_MAX);
        ports.chain(others.map(|index| (*index, 1)))
    }
}

/// A namespace; it goes away with the last descriptor and the last thread in it.
#[derive(Debug)]
pub(super) struct Namespace {
    handle: File,
}

/// Namespaces of this process: making one costs milliseconds.
static NAMESPACES: Mutex<BTreeMap<Layout, Arc<Namespace>>> = Mutex::new(BTreeMap::new());

impl Namespace {
    /// The namespace with this layout.
    pub(super) fn with(layout: Layout) -> Result<Arc<Self>, SyscallError> {
        let mut cache = NAMESPACES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = cache.get(&layout) {
            return Ok(Arc::clone(namespace));
        }
        let namespace = Arc::new(Self::create(&layout)?);
        cache.insert(layout, Arc::clone(&namespace));
        Ok(namespace)
    }

    /// Makes a namespace on a thread that ends with it, so that no other thread ever leaves its
    /// own.
    fn create(layout: &Layout) -> Result<Self, SyscallError> {
        let needs_settings = layout.network != *Network::empty();
        let build = || {
            // SAFETY: no pointers are involved; only this thread changes its namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(SyscallError::last("make a network namespace"));
            }
            let netlink = Netlink::open()?;
            netlink.set_up(1)?;
            // IPv4 settings come from the machine's first namespace.
            set("ipv4/conf/all/forwarding", "0").or_else(ignore_unless(needs_settings))?;
            set("ipv6/conf/default/addr_gen_mode", "1").or_else(ignore_unless(needs_settings))?;
            for (number, (ifindex, queues)) in (0..).zip(layout.interfaces()) {
                add_interface(&netlink, number, &layout.network.interface(ifindex), queues)?;
            }
            add_network(&netlink, &layout.network)?;
            Ok(Self {
                handle: current_namespace()?,
            })
        };
        std::thread::scope(|scope| {
            let built = scope.spawn(build).join();
            built.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace until the guard is dropped.
    pub(super) fn enter(&self) -> Result<Entered, SyscallError> {
        let previous = current_namespace()?;
        set_namespace(&self.handle)?;
        Ok(Entered { previous })
    }
}

fn add_interface(
    netlink: &Netlink,
    number: u32,
    interface: &Interface,
    queues: u32,
) -> Result<(), SyscallError> {
    let peer = PEER_IFINDEX + number;
    let end = |ifindex, side: &str, mac| VethEnd {
        ifindex,
        name: format!("{side}{number}"),
        mac,
        mtu: interface.mtu,
        queues,
    };
    netlink.add_veth(
        &end(interface.index, "port", interface.mac().0),
        &end(peer, "peer", Interface::port(peer).mac().0),
    )?;
    if interface.forwarding {
        for family in ["ipv4", "ipv6"] {
            set(&format!("{family}/conf/port{number}/forwarding"), "1")?;
        }
    }
    for address in &interface.addresses {
        netlink.add_address(interface.index, *address)?;
    }
    Ok(())
}

/// Sets up what needs all interfaces to be there.
fn add_network(netlink: &Netlink, network: &Network) -> Result<(), SyscallError> {
    for route in &network.routes {
        netlink.add_route(route)?;
    }
    for neighbour in &network.neighbours {
        netlink.add_neighbour(neighbour)?;
    }
    for rule in &network.rules {
        netlink.add_rule(rule)?;
    }
    Ok(())
}

/// Writes a network setting of the calling thread's namespace.
fn set(name: &str, value: &str) -> Result<(), SyscallError> {
    std::fs::write(format!("/proc/sys/net/{name}"), value).map_err(|source| SyscallError {
        action: format!("set net/{name}"),
        source,
    })
}

/// Takes an error for success unless the setting is needed: a container may not let us.
fn ignore_unless(needed: bool) -> impl FnOnce(SyscallError) -> Result<(), SyscallError> {
    move |error| if needed { Err(error) } else { Ok(()) }
}

fn current_namespace() -> Result<File, SyscallError> {
    File::open("/proc/thread-self/ns/net").map_err(|source| SyscallError {
        action: "open this thread's network namespace".to_owned(),
        source,
    })
}

fn set_namespace(namespace: &File) -> Result<(), SyscallError> {
    // SAFETY: no pointers are involved; only the calling thread changes its namespace.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(SyscallError::last("enter a network namespace"));
    }
    Ok(())
}

/// A thread that is inside a [`Namespace`]; dropping returns it to its own.
#[derive(Debug)]
pub(super) struct Entered {
    previous: File,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The thread came from there, so it may return; if not, it must not go on as if it had.
        set_namespace(&self.previous).expect("the thread returns to its own network namespace");
    }
}

/// A thread that stays on one CPU; dropping gives back the CPUs it had before.
#[derive(Debug)]
pub(super) struct Pinned {
    previous: libc::cpu_set_t,
}

impl Pinned {
    /// Pins the calling thread.
    pub(super) fn to(cpu: u32) -> Result<Self, SyscallError> {
        let mut previous = no_cpus();
        // SAFETY: 0 is the calling thread; the set is alive and as long as stated.
        if unsafe { libc::sched_getaffinity(0, size_of_val(&previous), &raw mut previous) } != 0 {
            return Err(SyscallError::last("read this thread's CPUs"));
        }
        let mut wanted = no_cpus();
        // SAFETY: the set is alive; CPU_SET checks the number against its size.
        unsafe { libc::CPU_SET(cpu as usize, &mut wanted) };
        set_cpus(&wanted).map_err(|error| SyscallError {
            action: format!("pin the thread of RX queue {cpu} to CPU {cpu}"),
            source: error.source,
        })?;
        Ok(Self { previous })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A CPU may have gone offline meanwhile; the thread then stays where it is.
        let _ = set_cpus(&self.previous);
    }
}

fn no_cpus() -> libc::cpu_set_t {
    // SAFETY: a CPU set is an array of integers, for which all zero is a value.
    unsafe { std::mem::zeroed() }
}

fn set_cpus(cpus: &libc::cpu_set_t) -> Result<(), SyscallError> {
    // SAFETY: 0 is the calling thread; the set is alive and as long as stated.
    if unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) } != 0 {
        return Err(SyscallError::last("set this thread's CPUs"));
    }
    Ok(())
}
