//! The table of known, unavoidable differences between backends, each with its reason. A check
//! prints and counts those that apply; nothing else is forgiven.

use iom_core::abi::XdpAction;
use iom_core::helper::number;
use iom_core::isa::{CallTarget, Insn};
use iom_core::map::MapType;
use iom_core::module::{Module, ProgramType};

use crate::compare::{Aspect, PacketView};

/// A difference that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownDifference {
    /// The NFP's code knows no redirect.
    NfpRedirect,
    /// The kernel's `trace_printk` lines go to a buffer that all of the machine shares.
    PrintkLines,
    /// A classifier reads `wire_len`.
    WireLen,
    /// The kernel's test-run has no device that knows more of a packet than its bytes.
    DeviceMetadata,
    /// A program goes through the entries of a hash.
    HashOrder,
}

impl KnownDifference {
    /// Why it cannot be avoided.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NfpRedirect => {
                "the NFP offload has no redirect: its epilogue aborts packets with any action above tx"
            }
            Self::PrintkLines => {
                "lines of bpf_trace_printk are not compared: the kernel's go to the tracing buffer"
            }
            Self::HashOrder => {
                "bpf_for_each_map_elem goes through a hash by key on the simulator and by bucket on the kernel: results may depend on the order"
            }
            Self::WireLen => {
                "wire_len is 0 on the simulator and the packet's length on the kernel's test-run"
            }
            Self::DeviceMetadata => {
                "the kernel's test-run has no XDP metadata (receive hash, time stamp, VLAN tag): its calls are answered with what the simulated device knows"
            }
        }
    }

    /// The known differences that follow from what a module's programs call.
    pub fn of_module(module: &Module) -> Vec<Self> {
        let calls = |helper: u32| {
            let target = CallTarget::Helper(helper);
            move |insn: &Insn| *insn == Insn::Call { target }
        };
        let has_hash = module.maps.iter().any(|spec| is_hash(spec.map_type));
        // Of any register: which one holds the context is the verifier's to know.
        let reads_wire_len =
            |insn: &Insn| matches!(insn, Insn::Load { off, .. } if (160..164).contains(off));
        let asks_device = |insn: &Insn| {
            matches!(insn, Insn::Call { target: CallTarget::Kernel(kfunc) }
                if kfunc.prototype().of_device)
        };
        let mut found = Vec::new();
        for program in &module.programs {
            if program.insns.iter().any(asks_device) {
                found.push(Self::DeviceMetadata);
            }
            if program.insns.iter().any(calls(number::TRACE_PRINTK)) {
                found.push(Self::PrintkLines);
            }
            let walks = program.insns.iter().any(calls(number::FOR_EACH_MAP_ELEM));
            if walks && has_hash {
                found.push(Self::HashOrder);
            }
            let classifies = program.program_type == ProgramType::SchedCls;
            if classifies && program.insns.iter().any(reads_wire_len) {
                found.push(Self::WireLen);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The known difference that explains what differs between two results, if one does.
    pub fn of_packet(
        aspects: &[Aspect],
        left: &PacketView<'_>,
        right: &PacketView<'_>,
    ) -> Option<Self> {
        let redirected = |view: &PacketView<'_>| view.outcome.action() == XdpAction::Redirect;
        let aborted = |view: &PacketView<'_>| {
            !view.exact_retval && view.outcome.action() == XdpAction::Aborted
        };
        let explained = aspects
            .iter()
            .all(|aspect| matches!(aspect, Aspect::Action | Aspect::Redirect));
        let pair = redirected(left) && aborted(right) || aborted(left) && redirected(right);
        (explained && pair).then_some(Self::NfpRedirect)
    }
}

/// Whether the kernel keeps the entries of such a map in buckets.
const fn is_hash(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash
    )
}
