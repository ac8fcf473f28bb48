//! What two backends made of the same packets, side by side.

use iom_core::abi::{Event, Frame, Outcome};
use iom_core::map::{MapContents, MapEntry};

/// What is compared for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// XDP action; with backends that keep it, the whole 32-bit return value.
    Action,
    /// Redirect target.
    Redirect,
    /// Packet bytes.
    Bytes,
    /// Metadata in front of the packet; what a socket buffer carries beside it.
    Metadata,
    /// Events sent to user space.
    Events,
}

/// What is compared, packets and maps, by the names of the JSON report.
pub const COMPARED: [&str; 6] = ["action", "redirect", "bytes", "metadata", "events", "maps"];

/// What a backend made of one packet.
#[derive(Clone, Copy, Debug)]
pub struct PacketView<'a> {
    /// What the program did.
    pub outcome: &'a Outcome,
    /// The frame afterwards.
    pub frame: &'a Frame,
    /// Its events, in order.
    pub events: &'a [Event],
    /// The backend gives the return value itself, not only the action.
    pub exact_retval: bool,
}

impl PacketView<'_> {
    /// In what the two differ.
    pub fn differences(&self, other: &Self) -> Vec<Aspect> {
        let differs = [
            (Aspect::Action, self.action_differs(other)),
            (
                Aspect::Redirect,
                self.outcome.redirect != other.outcome.redirect,
            ),
            (Aspect::Bytes, !same_bytes(self.frame, other.frame)),
            (
                Aspect::Metadata,
                self.frame.metadata() != other.frame.metadata()
                    || self.frame.socket_buffer.shown() != other.frame.socket_buffer.shown(),
            ),
            (Aspect::Events, !same_events(self.events, other.events)),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(aspect, _)| aspect)
            .collect()
    }

    fn action_differs(&self, other: &Self) -> bool {
        if self.outcome.trap.is_some() != other.outcome.trap.is_some() {
            return true;
        }
        if self.exact_retval && other.exact_retval {
            self.outcome.retval != other.outcome.retval
        } else {
            self.outcome.action() != other.outcome.action()
        }
    }
}

fn same_bytes(a: &Frame, b: &Frame) -> bool {
    if a.fragments().is_empty() && b.fragments().is_empty() {
        a.linear() == b.linear()
    } else {
        a.len() == b.len() && a.packet() == b.packet()
    }
}

fn same_events(a: &[Event], b: &[Event]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.map == b.map && a.bytes == b.bytes)
}

/// An entry that differs between two dumps of the same map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDifference<'a> {
    /// The entry in the first dump, if it is there.
    pub left: Option<&'a MapEntry>,
    /// The entry in the second dump, if it is there.
    pub right: Option<&'a MapEntry>,
}

/// The entries in which two dumps of a map differ, in order of their keys.
pub fn map_differences<'a>(
    left: &'a MapContents,
    right: &'a MapContents,
) -> Vec<EntryDifference<'a>> {
    let mut differences = Vec::new();
    let (mut lefts, mut rights) = (
        left.entries.iter().peekable(),
        right.entries.iter().peekable(),
    );
    loop {
        let (take_left, take_right) = match (lefts.peek(), rights.peek()) {
            (None, None) => return differences,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(left), Some(right)) => (left.key <= right.key, right.key <= left.key),
        };
        let left = if take_left { lefts.next() } else { None };
        let right = if take_right { rights.next() } else { None };
        if left != right {
            differences.push(EntryDifference { left, right });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iom_core::abi::{Redirect, RedirectKind};
    use iom_core::map::MapValue;

    fn view<'a>(outcome: &'a Outcome, frame: &'a Frame, events: &'a [Event]) -> PacketView<'a> {
        PacketView {
            outcome,
            frame,
            events,
            exact_retval: true,
        }
    }

    fn frame(packet: &[u8]) -> Frame {
        let mut frame = Frame::new();
        frame.set_packet(packet).unwrap();
        frame
    }

    #[test]
    fn each_aspect_is_seen() {
        let plain = (
            Outcome {
                retval: 2,
                ..Outcome::default()
            },
            frame(&[1, 2, 3]),
            vec![],
        );
        let target = Redirect {
            kind: RedirectKind::Ifindex,
            map: None,
            key: None,
            target: Some(3),
            flags: 0,
        };
        let event = Event {
            packet_id: 0,
            map: 1,
            bytes: vec![1],
        };
        let mut moved = frame(&[1, 2, 3]);
        moved.set_bounds(252, 256, 259);
        let others = [
            (
                Aspect::Action,
                (
                    Outcome {
                        retval: 3,
                        ..Outcome::default()
                    },
                    frame(&[1, 2, 3]),
                    vec![],
                ),
            ),
            (
                Aspect::Redirect,
                (
                    Outcome {
                        redirect: Some(target),
                        ..plain.0.clone()
                    },
                    frame(&[1, 2, 3]),
                    vec![],
                ),
            ),
            (Aspect::Bytes, (plain.0.clone(), frame(&[1, 2, 4]), vec![])),
            (Aspect::Metadata, (plain.0.clone(), moved, vec![])),
            (
                Aspect::Events,
                (plain.0.clone(), frame(&[1, 2, 3]), vec![event]),
            ),
        ];
        let plain = view(&plain.0, &plain.1, &plain.2);
        assert_eq!(plain.differences(&plain), []);
        for (aspect, (outcome, frame, events)) in &others {
            assert_eq!(plain.differences(&view(outcome, frame, events)), [*aspect]);
        }
    }

    #[test]
    fn an_action_alone_is_compared_where_a_backend_has_no_more() {
        let (five, six) = (
            Outcome {
                retval: 5,
                ..Outcome::default()
            },
            Outcome {
                retval: 6,
                ..Outcome::default()
            },
        );
        let frame = frame(&[]);
        let (five, six) = (view(&five, &frame, &[]), view(&six, &frame, &[]));
        assert_eq!(five.differences(&six), [Aspect::Action]);
        assert_eq!(
            five.differences(&PacketView {
                exact_retval: false,
                ..six
            }),
            []
        );
    }

    #[test]
    fn map_entries_are_matched_by_key() {
        let contents = |entries: &[(u8, u8)]| MapContents {
            entries: entries
                .iter()
                .map(|(key, value)| MapEntry {
                    key: vec![*key],
                    value: MapValue::Plain(vec![*value]),
                })
                .collect(),
        };
        let (left, right) = (
            contents(&[(1, 1), (2, 2), (4, 4)]),
            contents(&[(2, 3), (3, 3), (4, 4)]),
        );
        let keys: Vec<_> = map_differences(&left, &right)
            .iter()
            .map(|difference| {
                (
                    difference.left.map(|e| e.key[0]),
                    difference.right.map(|e| e.key[0]),
                )
            })
            .collect();
        assert_eq!(keys, [(Some(1), None), (Some(2), Some(2)), (None, Some(3))]);
        assert_eq!(map_differences(&left, &left), []);
    }
}
