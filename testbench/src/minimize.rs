//! Shrinks a list of packets to a small one that still shows a difference: first packets are left
//! out, then bytes are cut off and zeroed. Packets keep their order, numbers and times.
//!
//! The search is deterministic and knows nothing of backends: a trial says whether a list differs.

use iom_sim::rss::{Rss, SYMMETRIC_KEY};

use crate::kept_packets::KeptPacket;

/// What a trial found: the number of the packet behind which none is needed, if the packets differ.
pub type Verdict = Option<u64>;

/// Runs packets and says whether they differ in the aspect that is looked for.
pub type Trial<'t> = dyn FnMut(&[KeptPacket]) -> anyhow::Result<Verdict> + 't;

/// Limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Trials at most.
    pub trials: u32,
    /// Packets are not cut below this length.
    pub frame_bytes_min: usize,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Minimized {
    /// The packets that are left.
    pub packets: Vec<KeptPacket>,
    /// Trials made.
    pub trials: u32,
    /// The search came to its end: no packet can be left out, no byte cut off or zeroed. Otherwise
    /// it used up its trials.
    pub complete: bool,
}

/// Shrinks packets that differ; `None` if they do not.
///
/// # Errors
/// A trial that fails.
pub fn minimize(
    packets: Vec<KeptPacket>,
    limits: Limits,
    trial: &mut Trial<'_>,
) -> anyhow::Result<Option<Minimized>> {
    let mut search = Search {
        packets: Vec::new(),
        left: limits.trials,
        exhausted: false,
        trial,
    };
    if !search.keep_if_differs(packets)? {
        return Ok(None);
    }
    search.guess()?;
    search.leave_out_packets()?;
    for index in 0..search.packets.len() {
        search.cut(index, limits.frame_bytes_min)?;
        search.zero(index)?;
    }
    Ok(Some(Minimized {
        trials: limits.trials - search.left,
        complete: !search.exhausted,
        packets: search.packets,
    }))
}

/// The smallest list so far, and what is left of the limit.
struct Search<'s, 't> {
    packets: Vec<KeptPacket>,
    left: u32,
    exhausted: bool,
    trial: &'s mut Trial<'t>,
}

impl Search<'_, '_> {
    /// Tries a list and goes on with it if it differs.
    fn keep_if_differs(&mut self, candidate: Vec<KeptPacket>) -> anyhow::Result<bool> {
        if candidate.is_empty() {
            return Ok(false);
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.exhausted = true;
            return Ok(false);
        };
        self.left = left;
        let verdict = (self.trial)(&candidate)?;
        if let Some(last) = verdict {
            self.packets = candidate;
            self.packets.retain(|packet| packet.id <= last);
        }
        Ok(verdict.is_some())
    }

    /// What is often enough: the last packet, or those of its flow in both directions.
    fn guess(&mut self) -> anyhow::Result<()> {
        let Some(last) = self.packets.last().cloned() else {
            return Ok(());
        };
        if self.packets.len() == 1 || self.keep_if_differs(vec![last.clone()])? {
            return Ok(());
        }
        // The same for both directions of a flow.
        let rss = Rss::new(&SYMMETRIC_KEY, 1);
        let flow = |packet: &KeptPacket| rss.spread(&packet.bytes).0;
        let mut of_flow = self.packets.clone();
        of_flow.retain(|packet| flow(packet) == flow(&last));
        if of_flow.len() < self.packets.len() {
            self.keep_if_differs(of_flow)?;
        }
        Ok(())
    }

    /// Leaves out runs of packets, shorter and shorter ones, until each packet that is left is
    /// needed.
    fn leave_out_packets(&mut self) -> anyhow::Result<()> {
        let mut run = self.packets.len().next_power_of_two() / 2;
        while run > 0 && !self.exhausted {
            let mut left_out = false;
            let mut end = self.packets.len();
            while end > 0 && !self.exhausted {
                let start = end.saturating_sub(run);
                let mut candidate = self.packets.clone();
                candidate.drain(start..end.min(candidate.len()));
                left_out |= self.keep_if_differs(candidate)?;
                end = start.min(self.packets.len());
            }
            if run > 1 || !left_out {
                run /= 2;
            }
        }
        Ok(())
    }

    /// Cuts bytes off the end of a packet.
    fn cut(&mut self, index: usize, len_min: usize) -> anyhow::Result<()> {
        let mut count = self.len(index).next_power_of_two();
        while count > 0 {
            let len = self
                .len(index)
                .checked_sub(count)
                .filter(|len| *len >= len_min);
            let cut = match len {
                Some(len) => self.change(index, |bytes| bytes.truncate(len))?,
                None => false,
            };
            if !cut {
                count /= 2;
            }
        }
        Ok(())
    }

    /// Zeroes bytes of a packet, shorter and shorter ranges.
    fn zero(&mut self, index: usize) -> anyhow::Result<()> {
        let mut count = self.len(index).next_power_of_two();
        while count > 0 {
            for start in (0..self.len(index)).step_by(count) {
                let range = start..(start + count).min(self.len(index));
                self.change(index, |bytes| bytes[range].fill(0))?;
            }
            count /= 2;
        }
        Ok(())
    }

    /// Length of a packet; 0 once it is left out.
    fn len(&self, index: usize) -> usize {
        self.packets
            .get(index)
            .map_or(0, |packet| packet.bytes.len())
    }

    /// Tries the list with one packet changed.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<bool> {
        if self.exhausted {
            return Ok(false);
        }
        let mut candidate = self.packets.clone();
        if let Some(packet) = candidate.get_mut(index) {
            change(&mut packet.bytes);
        }
        Ok(candidate != self.packets && self.keep_if_differs(candidate)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: u64) -> Vec<KeptPacket> {
        let packet = |id| KeptPacket {
            id,
            port: 0,
            time_ns: id,
            ktime_ns: id,
            bytes: vec![id as u8; 100],
        };
        (0..count).map(packet).collect()
    }

    const LIMITS: Limits = Limits {
        trials: 1000,
        frame_bytes_min: 14,
    };

    /// Differs at packet 250 if packet 77 with a certain byte came before.
    fn two_packets(packets: &[KeptPacket]) -> Verdict {
        let set = packets
            .iter()
            .any(|packet| packet.id == 77 && packet.bytes.get(40) == Some(&77));
        (set && packets.iter().any(|packet| packet.id == 250)).then_some(250)
    }

    fn run(limits: Limits, differs: fn(&[KeptPacket]) -> Verdict) -> Option<Minimized> {
        minimize(packets(400), limits, &mut |packets| Ok(differs(packets))).unwrap()
    }

    #[test]
    fn two_packets_are_found_and_their_bytes_cut() {
        let found = run(LIMITS, two_packets).unwrap();
        assert!(found.complete);
        let ids: Vec<u64> = found.packets.iter().map(|packet| packet.id).collect();
        assert_eq!(ids, [77, 250]);
        let mut needed = vec![0; 41];
        needed[40] = 77;
        assert_eq!(found.packets[0].bytes, needed);
        assert_eq!(found.packets[1].bytes, [0; 14]);
        assert_eq!(run(LIMITS, two_packets).unwrap().packets, found.packets);
    }

    #[test]
    fn trials_are_bounded_and_what_is_left_still_differs() {
        for trials in [1, 2, 5, 20, 40] {
            let found = run(Limits { trials, ..LIMITS }, two_packets).unwrap();
            assert!(!found.complete && found.trials <= trials, "{found:?}");
            assert!(two_packets(&found.packets).is_some());
        }
    }

    #[test]
    fn no_difference_gives_nothing() {
        assert!(run(LIMITS, |_| None).is_none());
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(32))]
        #[test]
        fn what_is_left_is_what_is_needed(needed in proptest::collection::btree_set(0u64..50, 1..6)) {
            let all: Vec<u64> = needed.iter().copied().collect();
            let found = minimize(packets(50), LIMITS, &mut |packets| {
                let has = |id: &u64| packets.iter().any(|packet| packet.id == *id);
                Ok(all.iter().all(has).then_some(all[all.len() - 1]))
            });
            let found = found.unwrap().unwrap().packets;
            let ids: Vec<u64> = found.iter().map(|packet| packet.id).collect();
            proptest::prop_assert_eq!(ids, all);
        }
    }
}
