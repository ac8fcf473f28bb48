//! The file system in which links and maps have names and outlive their process.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::link::{self, LinkInfo};
use super::{BPFFS, LiveError};

/// `BPF_FS_MAGIC`.
const MAGIC: u32 = 0xcafe_4a11;
/// Name of the link in a folder of ours.
const LINK: &str = "link";
/// Name of the folder with the maps in it.
const MAPS: &str = "maps";
/// Name of that folder while its maps are not in use yet.
const NEXT: &str = "next";
/// How deep below the root folders with links are looked for.
const DEPTH: u32 = 4;

/// A folder in a bpffs with a link and maps.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    /// Makes the folder, and mounts the bpffs if it is to be in the customary one and that is not
    /// there.
    pub(super) fn create(path: &Path) -> Result<Self, LiveError> {
        if path.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)) {
            mount().map_err(|error| pin_error(Path::new(BPFFS), &format!(
                "there is no bpffs, and mounting one fails: {error}; --foreground does without"
            )))?;
        }
        let existing = path.ancestors().find(|ancestor| ancestor.exists());
        if !existing.is_some_and(is_bpffs) {
            let problem = format!("not in a bpffs, as {BPFFS} is; only there links can be pinned");
            return Err(pin_error(path, &problem));
        }
        fs::create_dir_all(path).map_err(|error| pin_error(path, &error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The link that is pinned in the folder.
    pub(super) fn link(&self) -> Option<(OwnedFd, LinkInfo)> {
        open_link(&self.path.join(LINK))
    }

    /// Pins the link.
    pub(super) fn pin_link(&self, link: &OwnedFd) -> Result<(), LiveError> {
        pin(link, &self.path.join(LINK))
    }

    /// Pins maps by name, aside until [`Self::use_maps`].
    pub(super) fn pin_maps<'a>(
        &self,
        maps: impl Iterator<Item = (&'a str, &'a OwnedFd)>,
    ) -> Result<(), LiveError> {
        let next = self.path.join(NEXT);
        remove(&next)?;
        fs::create_dir(&next).map_err(|error| pin_error(&next, &error.to_string()))?;
        for (name, map) in maps {
            pin(map, &next.join(name.replace('.', "_")))?;
        }
        Ok(())
    }

    /// Puts the maps that were pinned last in the place of those before.
    pub(super) fn use_maps(&self) -> Result<(), LiveError> {
        let maps = self.path.join(MAPS);
        remove(&maps)?;
        let renamed = fs::rename(self.path.join(NEXT), &maps);
        renamed.map_err(|error| pin_error(&maps, &error.to_string()))
    }

    /// Paths of the maps.
    pub(super) fn maps(&self) -> Vec<PathBuf> {
        let mut maps = entries(&self.path.join(MAPS));
        maps.sort();
        maps
    }

    /// Removes what we pinned, and the folder if nothing else is in it.
    pub(super) fn remove(&self) -> Result<(), LiveError> {
        for name in [MAPS, NEXT] {
            remove(&self.path.join(name))?;
        }
        remove(&self.path.join(LINK))?;
        // Something of others may be in there.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// All folders of the customary bpffs with a link in them.
    pub(super) fn all() -> Vec<(Self, LinkInfo)> {
        let mut found = Vec::new();
        let root = Path::new(BPFFS);
        if is_bpffs(root) {
            search(root, DEPTH, &mut found);
        }
        found
    }
}

fn search(path: &Path, depth: u32, found: &mut Vec<(Folder, LinkInfo)>) {
    let folder = Folder {
        path: path.to_owned(),
    };
    if let Some((_, info)) = folder.link() {
        found.push((folder, info));
    }
    let below = entries(path).into_iter().filter(|entry| entry.is_dir());
    if depth > 0 {
        below.for_each(|entry| search(&entry, depth - 1, found));
    }
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(path).into_iter().flatten();
    read.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The XDP link that is pinned at a path.
pub(super) fn open_link(path: &Path) -> Option<(OwnedFd, LinkInfo)> {
    let text = CString::new(path.as_os_str().as_bytes()).ok()?;
    let fd = link::open_pinned(&text).ok()?;
    // What kind of object it is only the name of its file tells.
    let kind = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    if !kind.to_string_lossy().contains("link") {
        return None;
    }
    let info = link::info(&fd).ok()??;
    Some((fd, info))
}

fn pin(object: &OwnedFd, path: &Path) -> Result<(), LiveError> {
    let text = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    link::pin(object, &text).map_err(|error| {
        let reason = match error.raw_os_error() {
            Some(libc::EEXIST) => "something is pinned there already".to_owned(),
            Some(libc::EPERM) => format!("{error} (names with a dot are the bpffs's own)"),
            _ => error.to_string(),
        };
        pin_error(path, &reason)
    })
}

/// Removes a file, or a folder with files in it, if it is there.
fn remove(path: &Path) -> Result<(), LiveError> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(pin_error(path, &error.to_string())),
    };
    if path.is_dir() {
        fs::remove_dir_all(path).or_else(gone)
    } else {
        fs::remove_file(path).or_else(gone)
    }
}

fn pin_error(path: &Path, problem: &str) -> LiveError {
    LiveError::Pin {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

fn is_bpffs(path: &Path) -> bool {
    let Ok(text) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the structure is of integers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero byte, and the structure is alive and writable.
    let result = unsafe { libc::statfs(text.as_ptr(), &raw mut found) };
    result == 0 && found.f_type as u32 == MAGIC
}

fn mount() -> Result<(), io::Error> {
    let path = CString::new(BPFFS)?;
    // SAFETY: all strings are alive and end in a zero byte; the file system takes no data.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            path.as_ptr(),
            c"bpf".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
