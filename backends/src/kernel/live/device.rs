//! Devices of this thread's network namespace, by name and index, and their XDP programs.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, CString};

use super::super::netlink::{Netlink, XDP_HW, XDP_NATIVE, XDP_SKB};
use super::super::syscall::SyscallError;
use super::{LiveError, Mode};

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) ifindex: u32,
}

impl Device {
    /// The device of this name.
    pub(super) fn find(name: &str) -> Result<Self, LiveError> {
        let text = CString::new(name).unwrap_or_default();
        // SAFETY: the name is alive and ends in a zero byte.
        let ifindex = unsafe { libc::if_nametoindex(text.as_ptr()) };
        if ifindex == 0 {
            return Err(LiveError::NoDevice {
                device: name.to_owned(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            ifindex,
        })
    }

    /// All devices, by index.
    pub(super) fn all() -> Result<Vec<Self>, LiveError> {
        // SAFETY: no arguments; the list is ours until it is freed below.
        let list = unsafe { libc::if_nameindex() };
        if list.is_null() {
            return Err(SyscallError::last("list the devices").into());
        }
        let mut devices = Vec::new();
        for index in 0.. {
            // SAFETY: the list ends with an entry of index 0, behind which the loop does not go.
            let entry = unsafe { &*list.add(index) };
            if entry.if_index == 0 {
                break;
            }
            // SAFETY: entries before the last have a name that ends in a zero byte.
            let name = unsafe { CStr::from_ptr(entry.if_name) };
            devices.push(Self {
                name: name.to_string_lossy().into_owned(),
                ifindex: entry.if_index,
            });
        }
        // SAFETY: `if_nameindex` made the list, and nothing refers to it any more.
        unsafe { libc::if_freenameindex(list) };
        devices.sort_by_key(|device| device.ifindex);
        Ok(devices)
    }

    /// Modes and ids of its programs.
    pub(super) fn programs(&self) -> Result<Vec<(Mode, u32)>, LiveError> {
        let programs = Netlink::open()?.xdp_programs(self.ifindex)?;
        let program = |(kind, id)| match kind {
            XDP_NATIVE => Some((Mode::Native, id)),
            XDP_SKB => Some((Mode::Skb, id)),
            XDP_HW => Some((Mode::Hw, id)),
            _ => None,
        };
        Ok(programs.into_iter().filter_map(program).collect())
    }
}

/// Whether there is a device with this index.
pub(super) fn exists(ifindex: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer is alive and as long as the call demands.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    !found.is_null()
}
