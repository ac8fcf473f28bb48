//! Taking programs off devices.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::super::link;
use super::bpffs::{self, Folder};
use super::device::Device;
use super::status::status;
use super::{LiveError, ProgramStatus};

/// Takes programs off a device or removes a pinned link; a line for each.
pub(super) fn detach(target: &str) -> Result<Vec<String>, LiveError> {
    if target.contains('/') {
        return detach_pin(Path::new(target));
    }
    let device = Device::find(target)?;
    let programs = status(Some(target))?.pop().map(|status| status.programs);
    let programs = programs.unwrap_or_default();
    if programs.is_empty() {
        return Err(LiveError::NotAttached {
            device: device.name,
        });
    }
    programs
        .iter()
        .map(|program| detach_program(&device, program))
        .collect()
}

fn detach_program(device: &Device, program: &ProgramStatus) -> Result<String, LiveError> {
    let (name, id) = (program.name.clone(), program.id);
    let Some(link_id) = program.link else {
        return Err(LiveError::NoLink {
            device: device.name.clone(),
            name,
            id,
            mode: program.mode,
        });
    };
    let link = link::open(link_id).map_err(|error| LiveError::Syscall {
        action: format!("open link {link_id}"),
        error,
    })?;
    release(&link)?;
    if let Some(path) = &program.pin {
        Folder { path: path.clone() }.remove()?;
    }
    Ok(format!(
        "{}: program {name} (id {id}) taken off",
        device.name
    ))
}

/// A link, or a folder with one in it, by its path.
fn detach_pin(path: &Path) -> Result<Vec<String>, LiveError> {
    let folder = Folder {
        path: match path.file_name() {
            Some(name) if name == "link" => path.parent().unwrap_or(path).to_owned(),
            _ => path.to_owned(),
        },
    };
    let (link, info) = folder
        .link()
        .or_else(|| bpffs::open_link(path))
        .ok_or_else(|| LiveError::Pin {
            path: path.to_owned(),
            problem: "no XDP link is pinned there; `iom status` shows where".to_owned(),
        })?;
    // The device may be gone, and the link with it.
    if info.ifindex != 0 {
        release(&link)?;
    }
    folder.remove()?;
    Ok(vec![format!(
        "{}: link {} of program {} removed",
        path.display(),
        info.id,
        info.program
    )])
}

fn release(link: &OwnedFd) -> Result<(), LiveError> {
    link::detach(link).map_err(|error| LiveError::Syscall {
        action: "detach a link".to_owned(),
        error,
    })
}
