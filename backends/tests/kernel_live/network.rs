//! A small network: two namespaces of our own with veth pairs between them, and packet sockets on
//! all ends. The ends `p0`, `p1`, … have the indexes of simulated ports, in a namespace where
//! programs are attached; `x0`, `x1`, … are what hangs on these ports.
#![expect(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use iom_core::abi::PortId;

/// Type field of all frames (IEEE 802: local experiments), so that nothing else is received.
pub(crate) const ETHER_TYPE: u16 = 0x88b5;
/// Index of the first far end.
const FAR_IFINDEX: u32 = 102;

/// The two namespaces.
pub(crate) struct Network {
    near: File,
    far: File,
}

impl Network {
    /// Makes the network. The calling thread leaves its namespace for good, so it must be one that
    /// ends with the test. The error is why it cannot be done here.
    pub(crate) fn create(ports: u32) -> Result<Self, String> {
        let near = new_namespace()?;
        quiet()?;
        let far = new_namespace()?;
        quiet()?;
        let near_path = format!("/proc/{}/fd/{}", std::process::id(), near.as_raw_fd());
        for port in 0..ports {
            let far_index = FAR_IFINDEX + port;
            let near_index = PortId(port).ifindex();
            ip(&format!(
                "link add x{port} index {far_index} type veth peer name p{port} index {near_index} netns {near_path}"
            ))?;
            ip(&format!("link set x{port} up"))?;
        }
        let network = Self { near, far };
        network.enter_near();
        for port in 0..ports {
            ip(&format!("link set p{port} up"))?;
        }
        Ok(network)
    }

    /// Moves the calling thread to where programs are attached.
    pub(crate) fn enter_near(&self) {
        enter(&self.near);
    }

    /// Moves the calling thread to the far ends.
    pub(crate) fn enter_far(&self) {
        enter(&self.far);
    }
}

fn new_namespace() -> Result<File, String> {
    // SAFETY: no pointers are involved; only this thread changes its namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = io::Error::last_os_error();
        return Err(format!("network namespaces are not allowed: {error}"));
    }
    File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())
}

/// Keeps IPv6 from talking on its own in the namespace that this thread is in.
fn quiet() -> Result<(), String> {
    for devices in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{devices}/disable_ipv6");
        // Without IPv6 there is nothing to keep quiet.
        if std::path::Path::new(&path).exists() {
            std::fs::write(&path, "1").map_err(|error| format!("{path}: {error}"))?;
        }
    }
    Ok(())
}

fn enter(namespace: &File) {
    // SAFETY: no pointers are involved; only this thread changes its namespace.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip (iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", message.trim()))
}

/// A packet socket on an interface.
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens it in this thread's namespace; it stays there.
    pub(crate) fn open(ifindex: u32) -> Self {
        let protocol = ETHER_TYPE.to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, libc::c_int::from(protocol)) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: ifindex as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the address is alive and as long as stated.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    /// Opens one on a far end.
    pub(crate) fn open_far(port: u32) -> Self {
        Self::open(FAR_IFINDEX + port)
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is alive and as long as stated.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }

    /// The next frame, if there is one.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        // SAFETY: the buffer is alive, writable and as long as stated.
        let len = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        buffer.truncate(usize::try_from(len).ok()?);
        Some(buffer)
    }
}

/// Receives on all sockets until there are `expected` frames, or none came for a while, and then a
/// little longer for those that should not come.
pub(crate) fn receive_all(sockets: &[PacketSocket], expected: usize) -> Vec<Vec<Vec<u8>>> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const AFTERMATH: Duration = Duration::from_millis(50);
    let mut received = vec![Vec::new(); sockets.len()];
    let mut deadline = Instant::now() + PATIENCE;
    let mut complete = expected == 0;
    while Instant::now() < deadline {
        for (socket, frames) in sockets.iter().zip(&mut received) {
            frames.extend(std::iter::from_fn(|| socket.receive()));
        }
        let count: usize = received.iter().map(Vec::len).sum();
        if count >= expected && !complete {
            complete = true;
            deadline = Instant::now() + AFTERMATH;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    received
}
