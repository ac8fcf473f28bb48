//! What the name of a section says about the programs in it: type, attach type, flags.

use crate::module::{ProgramType, XdpAttach};

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Programs of a type that is decoded here.
    Programs {
        program_type: ProgramType,
        attach: XdpAttach,
        fragments: bool,
    },
    /// Subprograms: `.text`.
    Subprograms,
    /// Programs of another type, by its bpftool name.
    Other(&'static str),
    /// No loader knows the name.
    Unknown,
}

/// Section names of libbpf for types that are kept out: the name itself or what stands before a
/// `/`, in the order in which they match, and the type.
const OTHER: [(&str, &str); 43] = [
    ("sk_reuseport", "sk_reuseport"),
    ("kprobe", "kprobe"),
    ("kretprobe", "kprobe"),
    ("kprobe.multi", "kprobe"),
    ("kretprobe.multi", "kprobe"),
    ("kprobe.session", "kprobe"),
    ("uprobe", "kprobe"),
    ("uretprobe", "kprobe"),
    ("uprobe.s", "kprobe"),
    ("uretprobe.s", "kprobe"),
    ("uprobe.multi", "kprobe"),
    ("uretprobe.multi", "kprobe"),
    ("ksyscall", "kprobe"),
    ("kretsyscall", "kprobe"),
    ("usdt", "kprobe"),
    ("action", "sched_act"),
    ("netkit", "sched_cls (netkit)"),
    ("tracepoint", "tracepoint"),
    ("tp", "tracepoint"),
    ("raw_tracepoint", "raw_tracepoint"),
    ("raw_tp", "raw_tracepoint"),
    ("raw_tracepoint.w", "raw_tracepoint_writable"),
    ("raw_tp.w", "raw_tracepoint_writable"),
    ("tp_btf", "tracing"),
    ("fentry", "tracing"),
    ("fentry.s", "tracing"),
    ("fmod_ret", "tracing"),
    ("fexit", "tracing"),
    ("fexit.s", "tracing"),
    ("iter", "tracing"),
    ("freplace", "ext"),
    ("lsm", "lsm"),
    ("lsm.s", "lsm"),
    ("lsm_cgroup", "lsm"),
    ("syscall", "syscall"),
    ("perf_event", "perf_event"),
    ("lwt_in", "lwt_in"),
    ("lwt_out", "lwt_out"),
    ("lwt_xmit", "lwt_xmit"),
    ("lwt_seg6local", "lwt_seg6local"),
    ("sockops", "sock_ops"),
    ("flow_dissector", "flow_dissector"),
    ("struct_ops", "struct_ops"),
];

/// Names whose ending says more than their beginning, matched by beginning after [`OTHER`].
const OTHER_PREFIXES: [(&str, &str); 6] = [
    ("sk_skb", "sk_skb"),
    ("sk_msg", "sk_msg"),
    ("sk_lookup", "sk_lookup"),
    ("cgroup/", "cgroup"),
    ("cgroup_skb/", "cgroup_skb"),
    ("lirc_mode2", "lirc_mode2"),
];

/// What a section of this name holds. A leading `?` (libbpf: do not load unless asked) changes
/// nothing here, where every program is loaded only when asked for.
pub(super) fn section_kind(name: &str) -> SectionKind {
    if name == ".text" {
        return SectionKind::Subprograms;
    }
    let name = name.strip_prefix('?').unwrap_or(name);
    let programs = |program_type| SectionKind::Programs {
        program_type,
        attach: XdpAttach::Device,
        fragments: false,
    };
    if let Some((attach, fragments)) = xdp(name) {
        return SectionKind::Programs {
            program_type: ProgramType::Xdp,
            attach,
            fragments,
        };
    }
    let stem = name.split('/').next().unwrap_or(name);
    match stem {
        "tc" | "tcx" | "classifier" => return programs(ProgramType::SchedCls),
        _ if stem.starts_with("socket") => return programs(ProgramType::SocketFilter),
        _ => {}
    }
    let exact = OTHER.iter().find(|(known, _)| stem == *known);
    exact
        .or_else(|| {
            OTHER_PREFIXES
                .iter()
                .find(|(known, _)| name.starts_with(known))
        })
        .map_or(SectionKind::Unknown, |(_, kind)| SectionKind::Other(kind))
}

/// Attach type and fragments of an XDP section. `xdp_devmap/` and `xdp_cpumap/` are what libbpf
/// used before `xdp/devmap`; any other `xdp_*` attaches to a device.
fn xdp(name: &str) -> Option<(XdpAttach, bool)> {
    let rest = name.strip_prefix("xdp")?;
    let (rest, fragments) = match rest.strip_prefix(".frags") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let attach = match rest.split_at_checked(1) {
        Some(("/", "devmap")) => XdpAttach::Devmap,
        Some(("/", "cpumap")) => XdpAttach::Cpumap,
        Some(("/" | "_", more)) if more.starts_with("devmap/") => XdpAttach::Devmap,
        Some(("/" | "_", more)) if more.starts_with("cpumap/") => XdpAttach::Cpumap,
        None | Some(("/" | "_", _)) => XdpAttach::Device,
        Some(_) => return None,
    };
    Some((attach, fragments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let device = |fragments| Some((XdpAttach::Device, fragments));
        assert_eq!(xdp("xdp"), device(false));
        assert_eq!(xdp("xdp/eth0"), device(false));
        assert_eq!(xdp("xdp_filter"), device(false));
        assert_eq!(xdp("xdp.frags"), device(true));
        assert_eq!(xdp("xdp.frags/devmap"), Some((XdpAttach::Devmap, true)));
        assert_eq!(xdp("xdp/cpumap"), Some((XdpAttach::Cpumap, false)));
        assert_eq!(xdp("xdp_devmap/egress"), Some((XdpAttach::Devmap, false)));
        assert_eq!(xdp("xdpfoo"), None);
        assert_eq!(section_kind("sockops"), SectionKind::Other("sock_ops"));
        assert_eq!(section_kind("kprobe/x"), SectionKind::Other("kprobe"));
        assert_eq!(section_kind("mine"), SectionKind::Unknown);
        for (name, expected) in [
            ("tc", ProgramType::SchedCls),
            ("tcx/ingress", ProgramType::SchedCls),
            ("classifier", ProgramType::SchedCls),
            ("?socket1", ProgramType::SocketFilter),
        ] {
            let SectionKind::Programs { program_type, .. } = section_kind(name) else {
                panic!("{name} holds programs");
            };
            assert_eq!(program_type, expected);
        }
    }
}
