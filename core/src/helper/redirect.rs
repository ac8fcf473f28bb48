//! `bpf_redirect` and `bpf_redirect_map`: what they return, and which call stands in the end.

use crate::abi::{QueueId, Redirect, RedirectKind, XdpAction, effect};
use crate::isa::Size;
use crate::map::{Map, MapType};
use crate::module::ProgramType;

/// Low bits of `flags`: what `redirect_map` returns when the map has no entry.
const ACTION_MASK: u64 = 3;
/// `BPF_F_BROADCAST`: to all entries of a devmap.
pub const BROADCAST: u64 = 1 << 3;
/// `BPF_F_EXCLUDE_INGRESS`: but not to the interface that the packet came from.
pub const EXCLUDE_INGRESS: u64 = 1 << 4;
/// `BPF_F_INGRESS`: a classifier redirects to where the interface receives.
const INGRESS: u64 = 1;
/// `TC_ACT_SHOT` and `TC_ACT_REDIRECT`.
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;

/// The redirect target of one packet while its program runs (`struct bpf_redirect_info`). A
/// backend that only observes the calls feeds them through here too, so that both agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedirectState {
    program_type: ProgramType,
    target: Option<Redirect>,
}

/// One call of `redirect_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectMapCall {
    /// Through what: the map's type.
    pub kind: RedirectKind,
    /// Map, by index in the module.
    pub map: u32,
    /// Key: the low half of the argument, as Linux's lookup takes it.
    pub key: u32,
    /// Flags.
    pub flags: u64,
}

impl RedirectState {
    /// No target yet, for a program of this type.
    pub const fn new(program_type: ProgramType) -> Self {
        Self {
            program_type,
            target: None,
        }
    }

    /// `bpf_redirect`: the return value. Flags that the program type does not have are refused and
    /// leave the earlier target.
    pub fn redirect(&mut self, ifindex: u32, flags: u64) -> u32 {
        let (known, refused, redirected) = match self.program_type {
            ProgramType::SchedCls => (INGRESS, TC_SHOT, TC_REDIRECT),
            ProgramType::Xdp | ProgramType::SocketFilter | ProgramType::Raw => {
                (0, XdpAction::Aborted as u32, XdpAction::Redirect as u32)
            }
        };
        if flags & !known != 0 {
            return refused;
        }
        self.target = Some(Redirect {
            kind: RedirectKind::Ifindex,
            map: None,
            key: None,
            target: Some(ifindex),
            flags,
        });
        redirected
    }

    /// `bpf_redirect_map`: the return value. `entry` is what the map holds at the key. Flags that
    /// the map does not take leave the earlier target; a missing entry clears it.
    pub fn redirect_map(&mut self, call: RedirectMapCall, entry: Option<u32>) -> u32 {
        let known = match call.kind {
            RedirectKind::Devmap => ACTION_MASK | BROADCAST | EXCLUDE_INGRESS,
            RedirectKind::Ifindex | RedirectKind::Cpumap | RedirectKind::Xskmap => ACTION_MASK,
        };
        if call.flags & !known != 0 {
            return XdpAction::Aborted as u32;
        }
        let broadcast = call.flags & BROADCAST != 0;
        if entry.is_none() && !broadcast {
            self.target = None;
            return (call.flags & ACTION_MASK) as u32;
        }
        self.target = Some(Redirect {
            kind: call.kind,
            map: Some(call.map),
            key: (!broadcast).then_some(call.key),
            target: entry.filter(|_| !broadcast),
            flags: call.flags,
        });
        XdpAction::Redirect as u32
    }

    /// The target that stands when the program ends with this value.
    pub fn finish(self, retval: u32) -> Option<Redirect> {
        let redirected = effect(self.program_type, retval) == XdpAction::Redirect;
        self.target.filter(|_| redirected)
    }
}

/// Through what a map redirects, or `None` for a map that cannot.
pub const fn redirect_kind(map_type: MapType) -> Option<RedirectKind> {
    match map_type {
        MapType::Devmap | MapType::DevmapHash => Some(RedirectKind::Devmap),
        MapType::Cpumap => Some(RedirectKind::Cpumap),
        MapType::Xskmap => Some(RedirectKind::Xskmap),
        _ => None,
    }
}

/// What a map holds at a key for a redirect: an interface index, CPU or RX queue.
pub fn map_target(map: &Map, queue: QueueId, key: u32) -> Option<u32> {
    let value = map.lookup(queue, &key.to_le_bytes())?;
    match redirect_kind(map.spec().map_type)? {
        RedirectKind::Devmap => value.load(0, Size::W).map(|ifindex| ifindex as u32),
        RedirectKind::Ifindex | RedirectKind::Cpumap | RedirectKind::Xskmap => Some(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: u32 = 4;

    fn call(kind: RedirectKind, flags: u64) -> RedirectMapCall {
        RedirectMapCall {
            kind,
            map: 5,
            key: 7,
            flags,
        }
    }

    #[test]
    fn the_last_call_wins() {
        let mut state = RedirectState::default();
        assert_eq!(state.redirect(3, 0), REDIRECT);
        assert_eq!(
            state.redirect_map(call(RedirectKind::Devmap, 0), Some(9)),
            REDIRECT
        );
        let target = state.finish(REDIRECT).unwrap();
        assert_eq!(target.kind, RedirectKind::Devmap);
        assert_eq!((target.key, target.target), (Some(7), Some(9)));
        assert_eq!(state.finish(2), None);
    }

    #[test]
    fn a_missing_entry_clears_the_target_and_gives_the_low_flags() {
        let mut state = RedirectState::default();
        state.redirect(3, 0);
        let retval = state.redirect_map(call(RedirectKind::Cpumap, 2), None);
        assert_eq!((retval, state.finish(REDIRECT)), (2, None));
    }

    #[test]
    fn bad_flags_leave_the_earlier_target() {
        let mut state = RedirectState::default();
        state.redirect(3, 0);
        assert_eq!(state.redirect(4, 1), 0);
        assert_eq!(
            state.redirect_map(call(RedirectKind::Xskmap, BROADCAST), Some(1)),
            0
        );
        assert_eq!(
            state.redirect_map(call(RedirectKind::Devmap, 1 << 5), Some(1)),
            0
        );
        assert_eq!(state.finish(REDIRECT).unwrap().target, Some(3));
    }

    #[test]
    fn classifiers_redirect_to_either_side_of_an_interface() {
        let mut state = RedirectState::new(ProgramType::SchedCls);
        assert_eq!(state.redirect(3, INGRESS), TC_REDIRECT);
        assert_eq!(state.redirect(4, 2), TC_SHOT);
        assert_eq!(state.finish(REDIRECT), None);
        let target = state.finish(TC_REDIRECT).unwrap();
        assert_eq!((target.target, target.flags), (Some(3), INGRESS));
    }

    #[test]
    fn broadcast_needs_no_entry() {
        let mut state = RedirectState::default();
        let flags = BROADCAST | EXCLUDE_INGRESS;
        assert_eq!(
            state.redirect_map(call(RedirectKind::Devmap, flags), None),
            REDIRECT
        );
        let target = state.finish(REDIRECT).unwrap();
        assert_eq!(
            (target.key, target.target, target.flags),
            (None, None, flags)
        );
    }
}
