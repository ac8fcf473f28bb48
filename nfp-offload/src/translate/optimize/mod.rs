//! The driver's optimisation passes, in its order. Each has exactly the driver's preconditions,
//! so that the words are the driver's, also where that is wrong (see `defects.rs`).

mod dead_code;
mod gather;
mod legacy_load;
mod negative_constant;
mod packet_cache;
mod register_init;

pub use dead_code::mark_removed;

use super::DefectMode;
use super::step::Step;

pub(super) fn optimize(steps: &mut [Step<'_>], mode: DefectMode) {
    register_init::skip_context_copy(steps);
    negative_constant::make_positive(steps, mode);
    legacy_load::skip_masks(steps);
    legacy_load::skip_shift_pairs(steps);
    gather::gather_copies(steps, mode);
    packet_cache::cache_loads(steps);
}
