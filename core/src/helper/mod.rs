//! Helpers: the catalogue (number, name, prototype, who has it) and one body each, written against
//! slices and handles. How arguments get from registers into those is the backend's affair.

mod catalogue;
mod checksum;
mod dynptr;
mod fib;
mod names;
mod packet;
mod perf;
mod printk;
mod redirect;
mod socket_buffer;
mod string;
mod syncookie;

pub use catalogue::{
    Argument, Helper, HelperBackends, Prototype, Returns, by_name, by_number, implemented, number,
};
pub use checksum::csum_diff;
pub use dynptr::{Dynptr, DynptrKind};
pub use fib::{FIB_PARAMS_BYTES, Fib, MtuCall};
pub use packet::{adjust_head, adjust_meta, adjust_tail, load_bytes, store_bytes};
pub use perf::perf_event_packet;
pub use printk::{ARGUMENTS_MAX, format, format_line};
pub use redirect::{
    BROADCAST, EXCLUDE_INGRESS, RedirectMapCall, RedirectState, map_target, redirect_kind,
};
pub use socket_buffer::{
    NETWORK_HEADER, get_hash_recalc, l3_csum_replace, l4_csum_replace, skb_change_type,
    skb_load_bytes, skb_load_bytes_relative, skb_pull_data, skb_store_bytes,
};
pub use string::{strncmp, strtol, strtoul};
pub use syncookie::{
    COOKIE_MULTIPLIER, COOKIE_SEED, IpVersion, TCP_BYTES, raw_check_syncookie, raw_gen_syncookie,
};
