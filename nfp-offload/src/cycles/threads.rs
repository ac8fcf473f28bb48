//! The contexts of one micro-engine: while one waits for memory another runs. They take turns where
//! they wait, not before, as the engine swaps them.

/// What a context does for a packet: it runs and waits in turn, and at the end it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turns {
    /// Cycles that it runs, in all.
    pub(super) running: f64,
    /// Cycles that it waits, in all.
    pub(super) waiting: f64,
    /// How often it waits.
    pub(super) waits: f64,
}

/// The most contexts that are simulated: an engine has eight.
const CONTEXTS: u32 = 64;

/// Packets that are simulated; those of the first quarter do not count.
const PACKETS: usize = 1024;

/// Packets that an engine with so many contexts completes in a cycle.
pub(super) fn packets_per_cycle(turns: Turns, contexts: u32) -> f64 {
    let waits = turns
        .waits
        .round()
        .max(if turns.waits > 0.0 { 1.0 } else { 0.0 });
    let run = (turns.running / (waits + 1.0)).max(1.0);
    let wait = if waits > 0.0 {
        turns.waiting / waits
    } else {
        0.0
    };
    let pieces = waits as usize + 1;
    let mut contexts = vec![
        Context {
            ready: 0.0,
            piece: 0
        };
        contexts.clamp(1, CONTEXTS) as usize
    ];
    let (mut now, mut done, mut start) = (0.0f64, 0, 0.0);
    while done < PACKETS {
        let ready = |a: &&mut Context, b: &&mut Context| a.ready.total_cmp(&b.ready);
        let Some(context) = contexts.iter_mut().min_by(ready) else {
            return 0.0;
        };
        now = now.max(context.ready) + run;
        context.piece += 1;
        context.ready = now + wait;
        if context.piece == pieces {
            // The next packet is there already.
            *context = Context {
                ready: now,
                piece: 0,
            };
            done += 1;
            if done == PACKETS / 4 {
                start = now;
            }
        }
    }
    (PACKETS - PACKETS / 4) as f64 / (now - start).max(1.0)
}

#[derive(Clone, Copy)]
struct Context {
    /// When it can go on.
    ready: f64,
    /// Pieces of the packet that are done.
    piece: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles_per_packet(running: f64, waiting: f64, waits: f64, contexts: u32) -> u32 {
        let turns = Turns {
            running,
            waiting,
            waits,
        };
        (1.0 / packets_per_cycle(turns, contexts)).round() as u32
    }

    #[test]
    fn contexts_hide_waiting_up_to_their_number() {
        // Alone it waits; with others the engine is busy all the time, and more do not help.
        assert_eq!(cycles_per_packet(100.0, 300.0, 3.0, 1), 400);
        assert_eq!(cycles_per_packet(100.0, 300.0, 3.0, 2), 200);
        assert_eq!(cycles_per_packet(100.0, 300.0, 3.0, 4), 100);
        assert_eq!(cycles_per_packet(100.0, 300.0, 3.0, 8), 100);
        assert_eq!(cycles_per_packet(100.0, 0.0, 0.0, 4), 100);
    }
}
