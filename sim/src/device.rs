//! What the simulated device does with a packet once the program has returned: the verdict, and
//! the counters that `ethtool -S` would show.

use std::collections::BTreeMap;

use iom_core::abi::{Outcome, PortId, Redirect, RedirectKind, XdpAction};

/// `BPF_F_INGRESS`.
const INGRESS: u64 = 1;

/// What the device does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ends here.
    Drop(DropReason),
    /// Up to the host's network stack.
    Host,
    /// Out of a port, which may be one that no capture was given for.
    Transmit(PortId),
    /// To the host's network stack on another CPU.
    Cpu(u32),
    /// To the user-space socket of an RX queue.
    Socket(u32),
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The program said so.
    Program,
    /// The program returned `XDP_ABORTED` or a value that is no action.
    Aborted,
    /// The program faulted.
    Trap,
    /// Redirected, but no target stands: no redirect call succeeded.
    NoTarget,
    /// Redirected to an interface that is no port.
    NoInterface,
}

impl DropReason {
    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Program => "dropped by the program",
            Self::Aborted => "aborted by the program",
            Self::Trap => "the program faulted",
            Self::NoTarget => "redirected without a target",
            Self::NoInterface => "redirected to an interface that is no port",
        }
    }
}

impl Verdict {
    /// What a device does with a packet that came in through `port`.
    pub fn of(port: PortId, outcome: &Outcome) -> Self {
        if outcome.trap.is_some() {
            return Self::Drop(DropReason::Trap);
        }
        match outcome.action() {
            XdpAction::Aborted => Self::Drop(DropReason::Aborted),
            XdpAction::Drop => Self::Drop(DropReason::Program),
            XdpAction::Pass => Self::Host,
            XdpAction::Tx => Self::Transmit(port),
            XdpAction::Redirect => outcome
                .redirect
                .map_or(Self::Drop(DropReason::NoTarget), Self::of_redirect),
        }
    }

    fn of_redirect(redirect: Redirect) -> Self {
        let Some(target) = redirect.target else {
            return Self::Drop(DropReason::NoTarget);
        };
        // A classifier may let an interface receive the packet.
        if redirect.kind == RedirectKind::Ifindex && redirect.flags & INGRESS != 0 {
            return Self::Host;
        }
        Self::of_target(redirect.kind, target)
    }

    /// What a device does with a packet that is redirected to a target.
    pub(crate) fn of_target(kind: RedirectKind, target: u32) -> Self {
        match kind {
            RedirectKind::Ifindex | RedirectKind::Devmap => PortId::from_ifindex(target)
                .map_or(Self::Drop(DropReason::NoInterface), Self::Transmit),
            RedirectKind::Cpumap => Self::Cpu(target),
            RedirectKind::Xskmap => Self::Socket(target),
        }
    }

    /// Why the packet was dropped, if it was.
    pub const fn drop_reason(self) -> Option<DropReason> {
        match self {
            Self::Drop(reason) => Some(reason),
            Self::Host | Self::Transmit(_) | Self::Cpu(_) | Self::Socket(_) => None,
        }
    }
}

/// Counters of one port, named as drivers name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the names are those of ethtool -S")]
pub struct PortCounters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_xdp_pass: u64,
    pub rx_xdp_drop: u64,
    pub rx_xdp_aborted: u64,
    pub rx_xdp_tx: u64,
    pub rx_xdp_redirect: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
}

/// Counters of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By port; ports that only transmit are here too.
    pub ports: BTreeMap<PortId, PortCounters>,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
    /// Packets handed to the host, to other CPUs and to sockets.
    pub delivered: u64,
    /// Packets made by broadcasts beside those received.
    pub duplicated: u64,
}

impl Counters {
    /// Counts a packet of `received_bytes` that the program left with `sent_bytes`.
    pub fn count(
        &mut self,
        port: PortId,
        outcome: &Outcome,
        verdict: Verdict,
        received_bytes: usize,
        sent_bytes: usize,
    ) {
        let rx = self.ports.entry(port).or_default();
        rx.rx_packets += 1;
        rx.rx_bytes += received_bytes as u64;
        match outcome.action() {
            XdpAction::Aborted => rx.rx_xdp_aborted += 1,
            XdpAction::Drop => rx.rx_xdp_drop += 1,
            XdpAction::Pass => rx.rx_xdp_pass += 1,
            XdpAction::Tx => rx.rx_xdp_tx += 1,
            XdpAction::Redirect => rx.rx_xdp_redirect += 1,
        }
        self.count_delivery(verdict, sent_bytes);
    }

    /// Counts one more packet that a broadcast made.
    pub fn count_duplicate(&mut self, verdict: Verdict, sent_bytes: usize) {
        self.duplicated += 1;
        self.count_delivery(verdict, sent_bytes);
    }

    fn count_delivery(&mut self, verdict: Verdict, sent_bytes: usize) {
        match verdict {
            Verdict::Drop(reason) => *self.drops.entry(reason).or_default() += 1,
            Verdict::Transmit(target) => {
                let tx = self.ports.entry(target).or_default();
                tx.tx_packets += 1;
                tx.tx_bytes += sent_bytes as u64;
            }
            Verdict::Host | Verdict::Cpu(_) | Verdict::Socket(_) => self.delivered += 1,
        }
    }

    /// Asserts that every packet received or duplicated was delivered, transmitted or dropped.
    ///
    /// # Panics
    /// If packets were lost or made up: a fault of the simulator.
    pub fn assert_balanced(&self) {
        let received: u64 = self.ports.values().map(|port| port.rx_packets).sum();
        let sent: u64 = self.ports.values().map(|port| port.tx_packets).sum();
        let dropped: u64 = self.drops.values().sum();
        assert_eq!(
            received + self.duplicated,
            sent + dropped + self.delivered,
            "packets received and accounted for"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(kind: RedirectKind, target: Option<u32>) -> Outcome {
        let redirect = Redirect {
            kind,
            map: None,
            key: None,
            target,
            flags: 0,
        };
        Outcome {
            retval: 4,
            redirect: Some(redirect),
            ..Outcome::default()
        }
    }

    #[test]
    fn verdicts_follow_the_action() {
        let port = PortId(3);
        let verdict = |retval| {
            Verdict::of(
                port,
                &Outcome {
                    retval,
                    ..Outcome::default()
                },
            )
        };
        assert_eq!(verdict(0), Verdict::Drop(DropReason::Aborted));
        assert_eq!(verdict(1), Verdict::Drop(DropReason::Program));
        assert_eq!(verdict(2), Verdict::Host);
        assert_eq!(verdict(3), Verdict::Transmit(port));
        assert_eq!(verdict(4), Verdict::Drop(DropReason::NoTarget));
        assert_eq!(verdict(5), Verdict::Drop(DropReason::Aborted));
    }

    #[test]
    fn redirects_reach_ports_cpus_and_nothing() {
        let verdict = |kind, target| Verdict::of(PortId(0), &redirected(kind, target));
        assert_eq!(
            verdict(RedirectKind::Ifindex, Some(5)),
            Verdict::Transmit(PortId(3))
        );
        assert_eq!(
            verdict(RedirectKind::Ifindex, Some(1)),
            Verdict::Drop(DropReason::NoInterface)
        );
        assert_eq!(verdict(RedirectKind::Cpumap, Some(1)), Verdict::Cpu(1));
        assert_eq!(
            verdict(RedirectKind::Devmap, None),
            Verdict::Drop(DropReason::NoTarget)
        );
    }

    #[test]
    #[should_panic(expected = "packets received and accounted for")]
    fn a_lost_packet_is_noticed() {
        let mut counters = Counters::default();
        let outcome = Outcome {
            retval: 2,
            ..Outcome::default()
        };
        counters.count(PortId(0), &outcome, Verdict::Host, 60, 60);
        counters.assert_balanced();
        counters.delivered -= 1;
        counters.assert_balanced();
    }
}
