//! The last stage: a translated program is put on a port (`nfp/bpf/main.c`, `offload.c`), whose
//! firmware and settings may be others than those it was made for.

use iom_core::module::ProgramType;

use super::{Reason, Rule};
use crate::offload::Offload;
use crate::profile::FirmwareProfile;

/// Where a program is put.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The port's firmware.
    pub port: &'a FirmwareProfile,
    /// Type of the program that runs there now.
    pub running: Option<ProgramType>,
    /// How it is attached, if it is a TC program.
    pub filter: TcFilter,
}

/// A TC filter that holds a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent conditions of the driver"
)]
pub struct TcFilter {
    /// It is a BPF classifier.
    pub is_bpf: bool,
    /// It is in chain 0.
    pub in_chain_0: bool,
    /// It is for `protocol all`.
    pub all_protocols: bool,
    /// It has direct action, and no other actions.
    pub direct_action: bool,
}

impl Default for TcFilter {
    fn default() -> Self {
        Self {
            is_bpf: true,
            in_chain_0: true,
            all_protocols: true,
            direct_action: true,
        }
    }
}

impl<'a> Attachment<'a> {
    /// On a port with this firmware where nothing runs.
    pub fn on(port: &'a FirmwareProfile) -> Self {
        Self {
            port,
            running: None,
            filter: TcFilter::default(),
        }
    }

    /// Every reason against attaching a translated program here.
    pub fn check(&self, program_type: ProgramType, offload: &Offload) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if program_type == ProgramType::SchedCls {
            self.filter.check(&mut reasons);
        }
        self.running_program(program_type, &mut reasons);
        let port = self.port;
        if let Some(last) = offload.last_packet_byte {
            split_boundary(port, last, &mut reasons);
        }
        let stack = offload.image.stack_bytes;
        let max = u32::from(port.stack_bytes) / 64 * 64;
        if stack > max {
            reasons.push(Reason::of(
                Rule::PortStack,
                "stack too large",
                format!(
                    "the program needs {stack} bytes of stack, the port's firmware gives {max}"
                ),
                "attach it to a port with the firmware that it was made for",
            ));
        }
        let (words, max) = (offload.words.len(), port.max_len);
        if words > usize::from(max) {
            reasons.push(Reason::of(
                Rule::PortLength,
                "program too long",
                format!("the program has {words} words, the port's firmware takes {max}"),
                "attach it to a port with the firmware that it was made for",
            ));
        }
        reasons
    }

    fn running_program(&self, program_type: ProgramType, reasons: &mut Vec<Reason>) {
        match self.running {
            Some(running) if running != program_type => reasons.push(Reason::of(
                Rule::PortBusy,
                "Device or resource busy",
                format!("the port runs a program for {}", running.name()),
                "take that one off first",
            )),
            Some(_) if !self.port.live_reload => reasons.push(Reason::of(
                Rule::LiveReload,
                "FW does not support live reload",
                "the port runs a program, and its firmware does not replace it while packets come",
                "take that one off first; packets go without a program until the new one is on",
            )),
            None | Some(_) => {}
        }
    }
}

impl TcFilter {
    /// In the driver's order (`nfp_bpf_setup_tc_block_cb`).
    fn check(self, reasons: &mut Vec<Reason>) {
        let rules = [
            (
                self.is_bpf,
                Rule::TcClassifier,
                "only offload of BPF classifiers supported",
                "the filter is no BPF classifier",
                "use `tc filter add … bpf`",
            ),
            (
                self.in_chain_0,
                Rule::TcChain,
                "Driver supports only offload of chain 0",
                "the filter is in another chain than 0",
                "leave `chain` away",
            ),
            (
                self.all_protocols,
                Rule::TcProtocol,
                "only ETH_P_ALL supported as filter protocol",
                "the filter is for one protocol",
                "use `protocol all`, and look at the protocol in the program",
            ),
            (
                self.direct_action,
                Rule::TcActions,
                "only direct action with no legacy actions supported",
                "the filter has actions, or no direct action",
                "use `direct-action` and return the verdict from the program",
            ),
        ];
        for (is_kept, rule, driver, message, fix) in rules {
            if !is_kept {
                reasons.push(Reason::of(rule, driver, message, fix));
            }
        }
    }
}

/// Packets longer than what is in CTM must not be looked at behind it.
pub(super) fn split_boundary(port: &FirmwareProfile, last: u32, reasons: &mut Vec<Reason>) {
    let split = (u32::from(port.inline_mtu) * 64).saturating_sub(32);
    let looks = last.min(port.port_mtu);
    if split < looks {
        reasons.push(Reason::of(
            Rule::SplitBoundary,
            "BPF offload not supported with potential packet access beyond HW packet split boundary",
            format!("the program looks at {looks} bytes of a packet; {split} are within reach"),
            "look at fewer bytes, or lower the port's MTU",
        ));
    }
}
