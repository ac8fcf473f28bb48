//! What runs on the devices.

use super::super::link::{self, LinkInfo};
use super::bpffs::Folder;
use super::device::Device;
use super::{DeviceStatus, LiveError, Mode, ProgramStatus};

/// The programs of a device, or of all devices that have some.
pub(super) fn status(device: Option<&str>) -> Result<Vec<DeviceStatus>, LiveError> {
    let devices = match device {
        Some(name) => vec![Device::find(name)?],
        None => Device::all()?,
    };
    let folders = Folder::all();
    let links = all_links()?;
    let mut found = Vec::new();
    for known in devices {
        let programs = known.programs()?;
        if programs.is_empty() && device.is_none() {
            continue;
        }
        let programs: Result<_, _> = programs
            .into_iter()
            .map(|(mode, id)| program_status(&known, mode, id, &links, &folders))
            .collect();
        found.push(DeviceStatus {
            programs: programs?,
            device: known.name,
            ifindex: known.ifindex,
        });
    }
    Ok(found)
}

fn program_status(
    device: &Device,
    mode: Mode,
    id: u32,
    links: &[LinkInfo],
    folders: &[(Folder, LinkInfo)],
) -> Result<ProgramStatus, LiveError> {
    let program = link::open_program(id).map_err(|error| LiveError::Syscall {
        action: format!("open program {id}"),
        error,
    })?;
    let info = link::program_info(&program).map_err(|error| LiveError::Syscall {
        action: format!("ask about program {id}"),
        error,
    })?;
    let link = holder(device, id, links).map(|link| link.id);
    let folder = folders
        .iter()
        .find(|(_, info)| Some(info.id) == link)
        .map(|(folder, _)| folder);
    Ok(ProgramStatus {
        mode,
        id,
        name: info.name,
        tag: format!("{:016x}", info.tag),
        link,
        pin: folder.map(|folder| folder.path.clone()),
        maps: folder.map_or(Vec::new(), Folder::maps),
        run_count: info.run_count,
        run_time_ns: info.run_time_ns,
    })
}

/// All XDP links of the machine.
pub(super) fn all_links() -> Result<Vec<LinkInfo>, LiveError> {
    link::all().map_err(|error| LiveError::Syscall {
        action: "list the links".to_owned(),
        error,
    })
}

/// The link that holds this program on this device. Devices of other namespaces may have the same
/// index, but not the same program unless somebody attached it there, too.
pub(super) fn holder<'a>(
    device: &Device,
    program: u32,
    links: &'a [LinkInfo],
) -> Option<&'a LinkInfo> {
    links
        .iter()
        .find(|link| link.ifindex == device.ifindex && link.program == program)
}
