//! Putting a program on a device.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use iom_core::abi::{LoadRequest, RedirectKind};
use iom_core::helper::redirect_kind;
use iom_core::map::MapValue;

use super::super::link::{self, LinkInfo};
use super::super::load::{load_live, probe_offload};
use super::super::maps::possible_cpus;
use super::bpffs::Folder;
use super::device::{self, Device};
use super::status::{all_links, holder};
use super::{AttachOptions, Attachment, Hold, LiveError, Mode, default_pin};

/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_HW_MODE`.
const fn mode_flags(mode: Option<Mode>) -> u32 {
    match mode {
        None => 0,
        Some(Mode::Skb) => 1 << 1,
        Some(Mode::Native) => 1 << 2,
        Some(Mode::Hw) => 1 << 3,
    }
}

/// Attaches a program to a device.
pub(super) fn attach(
    request: &LoadRequest<'_>,
    options: &AttachOptions,
) -> Result<Attachment, LiveError> {
    let device = Device::find(&options.device)?;
    let present = present(&device, options)?;
    let mode = present.as_ref().map(|(mode, _)| *mode).or(options.mode);
    check_targets(request)?;
    let offload = mode == Some(Mode::Hw);
    if offload {
        check_offload(&device)?;
    }
    let live = load_live(request, if offload { device.ifindex } else { 0 })?;
    let folder = match &options.hold {
        Hold::Process => None,
        Hold::Pin(path) => Some(folder_for(&device, path.as_deref(), present.as_ref())?),
    };
    if let Some(folder) = &folder {
        folder.pin_maps(live.maps())?;
    }
    let (link, replaced) = match &present {
        Some((_, old)) => (replace(&live.program, old)?, Some(old.program)),
        None => (create(&device, mode, &live.program)?, None),
    };
    let info = link_info(&link)?;
    if let Some(folder) = &folder {
        if folder.link().is_none_or(|(_, pinned)| pinned.id != info.id) {
            folder.pin_link(&link)?;
        }
        folder.use_maps()?;
    }
    let programs = device.programs()?;
    let actual = programs.iter().find(|(_, id)| *id == info.program);
    Ok(Attachment {
        mode: actual.map_or(Mode::Native, |(mode, _)| *mode),
        device: device.name,
        program: info.program,
        link: info.id,
        pin: folder.map(|folder| folder.path),
        replaced,
        _held: live.into_descriptors().chain([link]).collect(),
    })
}

/// The program that is to be replaced: its mode and link. An error if there is one that is not.
fn present(
    device: &Device,
    options: &AttachOptions,
) -> Result<Option<(Mode, LinkInfo)>, LiveError> {
    let programs = device.programs()?;
    // A device may have one program in hardware beside one in software.
    let conflicting = |mode: Mode| {
        options
            .mode
            .is_none_or(|wanted| (wanted == Mode::Hw) == (mode == Mode::Hw))
    };
    let Some((mode, id)) = programs.into_iter().find(|(mode, _)| conflicting(*mode)) else {
        return Ok(None);
    };
    let (device_name, name) = (device.name.clone(), program_name(id));
    let Some(link) = holder(device, id, &all_links()?).copied() else {
        return Err(LiveError::NoLink {
            device: device_name,
            name,
            id,
            mode,
        });
    };
    if !options.replace {
        return Err(LiveError::Busy {
            device: device_name,
            name,
            id,
            mode,
        });
    }
    if options.mode.is_some_and(|wanted| wanted != mode) {
        return Err(LiveError::OtherMode {
            device: device_name,
            mode,
        });
    }
    Ok(Some((mode, link)))
}

fn program_name(id: u32) -> String {
    let info = link::open_program(id).and_then(|program| link::program_info(&program));
    info.map_or("?".to_owned(), |info| info.name)
}

/// Redirect maps may only name devices and CPUs that are here.
fn check_targets(request: &LoadRequest<'_>) -> Result<(), LiveError> {
    let cpus = possible_cpus();
    for map in request.maps.iter() {
        let spec = map.spec();
        let Some(kind) = redirect_kind(spec.map_type) else {
            continue;
        };
        for entry in map.contents().entries {
            let word = |bytes: &[u8]| {
                bytes
                    .first_chunk()
                    .map_or(0, |word| u32::from_le_bytes(*word))
            };
            let (what, number, is_here) = match (kind, &entry.value) {
                (RedirectKind::Devmap, MapValue::Plain(value)) => {
                    let ifindex = word(value);
                    ("interface", ifindex, device::exists(ifindex))
                }
                (RedirectKind::Cpumap, _) => ("CPU", word(&entry.key), word(&entry.key) < cpus),
                _ => continue,
            };
            if !is_here {
                return Err(LiveError::Target {
                    map: spec.name.clone(),
                    key: word(&entry.key),
                    what,
                    number,
                });
            }
        }
    }
    Ok(())
}

/// Whether the device takes programs at all, before one is refused for reasons of its own.
fn check_offload(device: &Device) -> Result<(), LiveError> {
    probe_offload(device.ifindex).map_err(|error| LiveError::Attach {
        device: device.name.clone(),
        mode: Mode::Hw,
        hint: match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => {
                "its driver has no XDP at all, so nothing can be offloaded to it; \
                 `iom check PROG -i FILE --backends sim,nfp` runs the program on a model of a card that has"
            }
            Some(libc::EINVAL) => {
                "its driver runs XDP on the CPU but registers no offload device, as nfp does with BPF firmware; \
                 `iom check PROG -i FILE --backends sim,nfp` runs the program on a model of such a card"
            }
            _ => "`iom check PROG -i FILE --backends sim,nfp` says whether the program could be offloaded",
        },
        error,
    })
}

/// The folder to pin in: the one that is asked for, else where the link is, else the customary one.
fn folder_for(
    device: &Device,
    path: Option<&Path>,
    present: Option<&(Mode, LinkInfo)>,
) -> Result<Folder, LiveError> {
    let present = present.map(|(_, link)| link.id);
    let pinned = Folder::all().into_iter();
    let mut pinned = pinned.filter(|(_, info)| Some(info.id) == present);
    let default = default_pin(&device.name);
    let folder = match (path, pinned.next()) {
        (Some(path), _) => Folder::create(path)?,
        (None, Some((folder, _))) => folder,
        (None, None) => Folder::create(&default)?,
    };
    match folder.link() {
        Some((_, other)) if other.ifindex == 0 => folder.remove()?,
        Some((_, other)) if Some(other.id) != present => {
            return Err(LiveError::Pin {
                path: folder.path,
                problem: format!(
                    "link {} of interface {} is pinned there; choose another path with --pin",
                    other.id, other.ifindex
                ),
            });
        }
        _ => return Ok(folder),
    }
    Folder::create(&folder.path)
}

fn create(device: &Device, mode: Option<Mode>, program: &OwnedFd) -> Result<OwnedFd, LiveError> {
    link::create(program, device.ifindex, mode_flags(mode)).map_err(|error| LiveError::Attach {
        device: device.name.clone(),
        mode: mode.unwrap_or(Mode::Native),
        hint: attach_hint(mode, &error),
        error,
    })
}

/// What the kernel's answer to attaching means.
fn attach_hint(mode: Option<Mode>, error: &io::Error) -> &'static str {
    match (mode, error.raw_os_error()) {
        (Some(Mode::Native), Some(libc::EOPNOTSUPP)) => {
            "its driver has no native XDP; --mode skb works on every device"
        }
        (Some(Mode::Skb), _) => "the network stack does not take it on this device",
        (_, Some(libc::EBUSY | libc::EEXIST)) => {
            "another program or an upper device is there; `iom status` and `ip -d link` show which"
        }
        (_, Some(libc::EINVAL | libc::ERANGE | libc::EOPNOTSUPP)) => {
            "the driver cannot as the device is set up, most often because of the MTU, of LRO or of its queues \
             (`dmesg` may say); --mode skb works on every device"
        }
        _ => "`dmesg` may say why",
    }
}

fn replace(program: &OwnedFd, old: &LinkInfo) -> Result<OwnedFd, LiveError> {
    let failed = |error| LiveError::Syscall {
        action: format!("replace program {} of link {}", old.program, old.id),
        error,
    };
    let link = link::open(old.id).map_err(failed)?;
    let old_program = link::open_program(old.program).map_err(failed)?;
    link::update(&link, program, &old_program).map_err(failed)?;
    Ok(link)
}

fn link_info(link: &OwnedFd) -> Result<LinkInfo, LiveError> {
    let info = link::info(link).map_err(|error| LiveError::Syscall {
        action: "ask about the link".to_owned(),
        error,
    })?;
    Ok(info.expect("the link was made for XDP"))
}
