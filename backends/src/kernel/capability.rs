//! What this process may do with the kernel, and which privilege is missing.

use super::syscall::{MapCreate, MapFd};

/// Capabilities that loading and namespaces need, with their bit in `CapEff`. `CAP_SYS_ADMIN`
/// includes `CAP_BPF` and `CAP_PERFMON` (`linux/capability.h`).
const NEEDED: [(&str, u32); 4] = [
    ("CAP_BPF", 39),
    ("CAP_NET_ADMIN", 12),
    ("CAP_PERFMON", 38),
    ("CAP_SYS_ADMIN", SYS_ADMIN),
];
const SYS_ADMIN: u32 = 21;

/// Why the kernel cannot be used here, in one line; `None` if it can.
pub(super) fn missing() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    let probe = MapFd::create(&MapCreate {
        name: "probe",
        map_type: 2,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        lookup_bytes: 8,
        ..MapCreate::default()
    });
    match probe.map_err(|error| error.errno()) {
        Err(libc::ENOSYS) => Some("this kernel has no bpf() system call".to_owned()),
        _ if !missing.is_empty() => Some(format!(
            "this process lacks {}: run it as root or grant them",
            missing.join(", ")
        )),
        Err(libc::EPERM) => Some(
            "bpf() is forbidden here although the capabilities are there (seccomp or lockdown)"
                .to_owned(),
        ),
        Err(errno) => Some(format!(
            "bpf() cannot create a map: {}",
            std::io::Error::from_raw_os_error(errno)
        )),
        Ok(_) => None,
    }
}

/// The capabilities that the text of `/proc/…/status` shows to be missing.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let Some(effective) = effective else {
        return Vec::new();
    };
    let has = |bit: u32| effective >> bit & 1 == 1;
    NEEDED
        .iter()
        .filter(|(name, bit)| {
            let implied = *name != "CAP_NET_ADMIN" && has(SYS_ADMIN);
            !has(*bit) && !implied
        })
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_capability_is_missing() {
        let lacking = |effective: u64| missing_capabilities(&format!("CapEff:\t{effective:016x}"));
        assert_eq!(lacking(u64::MAX), [""; 0]);
        assert_eq!(
            lacking(0),
            ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"]
        );
        assert_eq!(lacking(1 << SYS_ADMIN), ["CAP_NET_ADMIN"]);
        assert_eq!(lacking(1 << 39 | 1 << 12), ["CAP_PERFMON", "CAP_SYS_ADMIN"]);
    }
}
