//! Memory of a map that the kernel shares with us.
#![expect(unsafe_code, reason = "mmap")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::syscall::SyscallError;

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub(super) struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, is not bound to a thread, and every access
// through `&self` is atomic or on bytes that the kernel does not change meanwhile (`bytes`).
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps `len` bytes of a map from `offset`, for reading and perhaps writing.
    pub(super) fn map(
        fd: &OwnedFd,
        offset: usize,
        len: usize,
        writable: bool,
    ) -> Result<Self, SyscallError> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | write,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(SyscallError::last("map a map's memory"));
        }
        let start = NonNull::new(start.cast()).expect("a mapping is never at address 0");
        Ok(Self { start, len })
    }

    /// The aligned 8 bytes at `offset`.
    pub(super) fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: inside the mapping and aligned (pages are), alive as long as `self`, and only
        // ever accessed atomically from here.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The aligned 4 bytes at `offset`.
    pub(super) fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len);
        // SAFETY: as in `u64_at`.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// A copy of `len` bytes from `offset`, which nobody may be writing: a ring buffer's record
    /// between its submission and its consumption.
    pub(super) fn copy(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.len && len <= self.len - offset);
        // SAFETY: inside the mapping; the kernel is done with a submitted record, and does not use
        // its space again before the consumer position has passed it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) }.to_vec()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and no reference into it outlives `self`.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}
