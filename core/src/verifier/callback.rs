//! Helpers that call a function of the program (`push_callback_call`). How often they do is not
//! known, so the function's body is followed again and again from the call, as long as that teaches
//! something new; the path that goes on behind the call is followed first.

use super::explore::Verifier;
use super::register::{Kind, Register};
use super::reject::{Check, reject};
use super::state::{Frame, MAX_FRAMES, SLOT};
use crate::helper::number;
use crate::isa::{CallTarget, Insn};
use crate::map::MapType;

/// Helpers that call a function before they return.
const CALLERS: [u32; 2] = [number::FOR_EACH_MAP_ELEM, number::LOOP];

/// Whether the instruction calls a helper that calls back.
pub(super) fn calls_back(insn: &Insn) -> bool {
    matches!(
        insn,
        Insn::Call {
            target: CallTarget::Helper(number)
        } if CALLERS.contains(number)
    )
}

impl Verifier<'_> {
    /// What a helper that calls back does with the function in `r2`.
    pub(super) fn call_back(&mut self, helper: u32, function: usize) -> Check {
        match helper {
            number::LOOP => {
                self.note_inline_loop(function);
                // Whether the loop is at its end depends on the number of rounds.
                self.mark_precise(1);
                let rounds = self.state.reg(1).scalar.umax;
                if u64::from(self.state.frame().callback_depth) >= rounds {
                    self.state.frame_mut().callback_depth = 0;
                    return Ok(());
                }
                let arguments = [Register::UNKNOWN, *self.state.reg(3)];
                self.push_callback(function, &arguments)
            }
            number::FOR_EACH_MAP_ELEM => {
                let map = *self.state.reg(1);
                let Kind::Map(index) = map.kind else {
                    return Ok(());
                };
                let walks = matches!(
                    self.map(index).map_type,
                    MapType::Array
                        | MapType::PercpuArray
                        | MapType::Hash
                        | MapType::LruHash
                        | MapType::PercpuHash
                        | MapType::LruPercpuHash
                );
                if !walks {
                    return reject("callback function not allowed for map");
                }
                let value = Kind::MapValue {
                    map: index,
                    nullable: false,
                };
                let arguments = [
                    map,
                    Register::pointer(Kind::MapKey(index)),
                    Register::pointer(value),
                    *self.state.reg(3),
                ];
                self.push_callback(function, &arguments)
            }
            _ => Ok(()),
        }
    }

    /// Linux replaces a `bpf_loop` that always calls the same function, with no flags, by a loop.
    fn note_inline_loop(&mut self, function: usize) {
        let slot = self.insn;
        let no_flags = |verifier: &mut Self| {
            let zero = verifier.state.reg(4).is_null();
            if zero {
                verifier.mark_precise(4);
            }
            zero
        };
        let fits = match self.inline_loops.get(&slot) {
            None => no_flags(self),
            Some(Some(known)) => {
                let known = *known;
                no_flags(self) && known == function
            }
            Some(None) => return,
        };
        self.inline_loops.insert(slot, fits.then_some(function));
    }

    /// Bytes of stack that a function needs for the loops that replace calls.
    pub(super) fn inline_loop_stack(&self, function: usize) -> i64 {
        const REGISTERS: i64 = 3 * SLOT;
        let (start, end) = self.bounds_of(function);
        let mut loops = self.inline_loops.range(start..end);
        if loops.any(|(_, callee)| callee.is_some()) {
            REGISTERS
        } else {
            0
        }
    }

    /// Puts the path into the callback aside.
    fn push_callback(&mut self, function: usize, arguments: &[Register]) -> Check {
        self.check_static_arguments(function);
        let depth = self.state.frames.len();
        if depth >= MAX_FRAMES {
            return reject(format!(
                "the call stack of {} frames is too deep",
                depth + 1
            ));
        }
        let mut inside = self.state.clone();
        let mut frame = Frame::new(function, self.insn as u32, depth);
        frame.callback = true;
        frame.registers[1..=arguments.len()].copy_from_slice(arguments);
        inside.frame_mut().callback_depth += 1;
        inside.frames.push(frame);
        inside.callback_unroll_depth += 1;
        let start = self.bounds_of(function).0;
        self.push_path(start, inside)?;
        self.state.frame_mut().callback_depth = 0;
        Ok(())
    }

    /// The end of a callback's round: back to the call, which may start another one.
    pub(super) fn leave_callback(&mut self) -> Check<usize> {
        let result = *self.state.reg(0);
        if !result.is_scalar() {
            return reject("R0 not a scalar value");
        }
        self.mark_precise(0);
        super::function::check_range(&result.scalar, "At callback return", (0, 1))?;
        let callsite = self.state.frame().callsite as usize;
        self.state.frames.pop();
        if let Some(previous) = self.previous_entry(callsite, self.state.depth)
            && let Some(known) = &self.explored[previous]
        {
            known.widen_imprecise(&mut self.state, self.next_id);
        }
        Ok(callsite)
    }
}
