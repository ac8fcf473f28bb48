//! Helpers as the verifier sees them: those of the catalogue, and more that Linux has and programs
//! for packets call, so that their programs are judged although no backend runs them.

use super::register::Socket;
use crate::helper::{self, Argument, Returns, number};
use crate::module::ProgramType;

/// What a helper takes in one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// As in the catalogue.
    Known(Argument),
    /// Any socket.
    AnySocket,
    /// Any socket, also as a structure of the kernel.
    AnySocketOrPointer,
    /// The context, or null.
    ContextOrNull,
}

/// What a helper leaves in `r0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// As in the catalogue.
    Known(Returns),
    /// A socket or null; `acquired` if it must be given up.
    Socket { socket: Socket, acquired: bool },
}

/// A helper's arguments, return value and conditions.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as in Linux's struct"
)]
pub(super) struct Prototype {
    pub(super) arguments: Vec<Takes>,
    pub(super) gives: Gives,
    pub(super) gpl_only: bool,
    pub(super) changes_packet: bool,
    /// Memory arguments may point into the packet.
    pub(super) packet_access: bool,
    /// Its result is its argument under another type, and shares its reference.
    pub(super) casts: bool,
}

use Argument::{Anything, Context, Map, MapKey, MemoryRead, MemoryWrite, Size};
use ProgramType::{SchedCls, SocketFilter, Xdp};
use Takes::{AnySocket, AnySocketOrPointer, ContextOrNull, Known};

const READ: Takes = Known(MemoryRead { nullable: false });
const FILL: Takes = Known(MemoryWrite);
const SIZE: Takes = Known(Size { zero: false });
const SIZE_OR_ZERO: Takes = Known(Size { zero: true });
const ANY: Takes = Known(Anything);
const CONTEXT: Takes = Known(Context);
const MAP: Takes = Known(Map);
const KEY: Takes = Known(MapKey);
const READ_OR_NULL: Takes = Known(MemoryRead { nullable: true });
const SCALAR: Gives = Gives::Known(Returns::Scalar);

/// Number, arguments, return value, whether only programs with a GPL-compatible licence have it.
type Row = (u32, &'static [Takes], Gives, bool);

const fn socket(socket: Socket, acquired: bool) -> Gives {
    Gives::Socket { socket, acquired }
}

/// Helpers that the catalogue does not have.
#[rustfmt::skip]
const MORE: &[Row] = &[
    (13, &[CONTEXT, ANY, ANY], SCALAR, false),
    (14, &[], SCALAR, false),
    (15, &[], SCALAR, false),
    (16, &[FILL, SIZE], SCALAR, false),
    (18, &[CONTEXT, ANY, ANY], SCALAR, false),
    (19, &[CONTEXT], SCALAR, false),
    (20, &[CONTEXT, FILL, SIZE, ANY], SCALAR, false),
    (21, &[CONTEXT, READ, SIZE, ANY], SCALAR, false),
    (22, &[MAP, ANY], SCALAR, true),
    (29, &[CONTEXT, FILL, SIZE], SCALAR, false),
    (30, &[CONTEXT, READ, SIZE], SCALAR, false),
    (31, &[CONTEXT, ANY, ANY], SCALAR, false),
    (33, &[CONTEXT, MAP, ANY], SCALAR, false),
    (35, &[], SCALAR, true),
    (37, &[MAP, ANY], SCALAR, false),
    (38, &[CONTEXT, ANY, ANY], SCALAR, false),
    (43, &[CONTEXT, ANY, ANY], SCALAR, false),
    (46, &[CONTEXT], SCALAR, false),
    (47, &[CONTEXT], SCALAR, false),
    (50, &[CONTEXT, ANY, ANY, ANY], SCALAR, false),
    (55, &[MAP, ANY, FILL, SIZE], SCALAR, true),
    (66, &[CONTEXT, ANY, FILL, SIZE, ANY], SCALAR, false),
    (79, &[CONTEXT], SCALAR, false),
    (80, &[], SCALAR, false),
    (83, &[CONTEXT, ANY], SCALAR, false),
    (95, &[AnySocket], socket(Socket::Full, false), false),
    (96, &[AnySocket], socket(Socket::Tcp, false), false),
    (97, &[CONTEXT], SCALAR, false),
    (98, &[AnySocket], socket(Socket::Full, false), false),
    (109, &[ANY], SCALAR, false),
    (112, &[FILL, SIZE_OR_ZERO, ANY], SCALAR, true),
    (113, &[FILL, SIZE_OR_ZERO, ANY], SCALAR, true),
    (114, &[FILL, SIZE_OR_ZERO, ANY], SCALAR, true),
    (115, &[FILL, SIZE_OR_ZERO, ANY], SCALAR, true),
    (117, &[ANY], SCALAR, false),
    (120, &[ANY, ANY, FILL, SIZE], SCALAR, false),
    (122, &[ContextOrNull], SCALAR, false),
    (123, &[ANY], SCALAR, false),
    (124, &[CONTEXT, AnySocketOrPointer, ANY], SCALAR, false),
    (135, &[CONTEXT, ANY], SCALAR, false),
    (136, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (137, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (138, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (139, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (140, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (151, &[CONTEXT], SCALAR, false),
    (152, &[ANY, READ_OR_NULL, SIZE_OR_ZERO, ANY], SCALAR, false),
    (155, &[ANY, ANY], SCALAR, false),
    (178, &[AnySocketOrPointer], socket(Socket::Kernel, false), false),
    (192, &[CONTEXT, ANY, ANY], SCALAR, false),
    (195, &[MAP, KEY, ANY], Gives::Known(Returns::MapValueOrNull), false),
    (196, &[AnySocket], socket(Socket::Kernel, false), false),
];

/// Helpers that XDP programs alone have.
const XDP_ONLY: &[u32] = &[44, 51, 54, 65, 188, 189, 190];
/// Helpers that `sched_cls` programs alone have.
const CLS_ONLY: &[u32] = &[
    9, 10, 11, 13, 18, 19, 20, 21, 24, 29, 30, 31, 32, 33, 34, 38, 39, 40, 41, 43, 48, 50, 66, 79,
    83, 95, 96, 97, 98, 107, 108, 124, 135, 151, 152, 155, 192,
];
/// Helpers that socket filters do not have.
const NO_FILTER: &[u32] = &[
    23, 28, 69, 84, 85, 86, 99, 100, 110, 163, 204, 205, 206, 207,
];
/// Helpers that XDP programs do not have.
const NO_XDP: &[u32] = &[26, 46, 47, 68, 122];
/// Helpers that no program of these types has.
const NOBODY: &[u32] = &[
    4, 27, 36, 45, 49, 52, 53, 56, 57, 58, 59, 60, 61, 62, 63, 64, 67, 70, 71, 72, 73, 74, 75, 76,
    77, 78, 81, 82, 90, 91, 92, 101, 102, 103, 104, 111, 116, 119, 121, 126, 127, 128, 129, 142,
    143, 144, 145, 146, 147, 150, 159, 161, 162, 166, 167, 168, 173, 174, 179, 183, 184, 185, 186,
    187, 193,
];

/// Helpers after which pointers into the packet are no longer valid.
const CHANGE_PACKET: &[u32] = &[9, 10, 11, 12, 13, 18, 19, 31, 38, 39, 43, 44, 50, 54, 65];

/// Helpers whose memory arguments may point into the packet.
const PACKET_ACCESS: &[u32] = &[
    1, 2, 3, 28, 84, 85, 87, 99, 100, 110, 195, 204, 205, 206, 207,
];

/// Helpers that turn one kind of socket into another.
const CASTS: &[u32] = &[95, 96, 136, 137, 138, 139, 140, 178, 196];

/// Whether Linux gives a helper to programs of a type.
pub(super) fn is_allowed(number: u32, program_type: ProgramType) -> bool {
    let listed = |list: &[u32]| list.contains(&number);
    let only = |list: &[u32], wanted: bool| !listed(list) || wanted;
    program_type != ProgramType::Raw
        && !listed(NOBODY)
        && only(XDP_ONLY, program_type == Xdp)
        && only(CLS_ONLY, program_type == SchedCls)
        && only(NO_FILTER, program_type != SocketFilter)
        && only(NO_XDP, program_type != Xdp)
}

/// How many arguments a helper has, if it is known.
pub(super) fn argument_count(number: u32) -> Option<u32> {
    prototype(number, SchedCls).map(|prototype| prototype.arguments.len() as u32)
}

/// How the helper with this number is called, if that is known.
pub(super) fn prototype(number: u32, program_type: ProgramType) -> Option<Prototype> {
    let helper = helper::by_number(number)?;
    let packet_access = PACKET_ACCESS.contains(&number);
    if let Some(known) = helper.prototype {
        return Some(Prototype {
            // Only classifiers ask for the class of a packet, others for that of the task at hand.
            arguments: match (number, program_type) {
                (number::GET_CGROUP_CLASSID, Xdp | SocketFilter) => Vec::new(),
                _ => known.arguments.iter().map(|takes| Known(*takes)).collect(),
            },
            gives: Gives::Known(known.returns),
            gpl_only: known.gpl_only,
            changes_packet: CHANGE_PACKET.contains(&number),
            packet_access,
            casts: false,
        });
    }
    let row = MORE.iter().find(|row| row.0 == number)?;
    Some(Prototype {
        arguments: row.1.to_vec(),
        gives: row.2,
        gpl_only: row.3,
        changes_packet: CHANGE_PACKET.contains(&number),
        packet_access,
        casts: CASTS.contains(&number),
    })
}
