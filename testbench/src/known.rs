//! The table of known, unavoidable differences between backends, each with its reason. A check
//! prints and counts those that apply; nothing else is forgiven.

use iom_core::abi::XdpAction;

use crate::compare::{Aspect, PacketView};

/// A difference that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownDifference {
    /// The NFP's code knows no redirect.
    NfpRedirect,
}

impl KnownDifference {
    /// Why it cannot be avoided.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NfpRedirect => {
                "the NFP offload has no redirect: its epilogue aborts packets with any action above tx"
            }
        }
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
