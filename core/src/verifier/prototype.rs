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
    /// The program type has it.
    pub(super) allowed: bool,
}

use Argument::{Anything, Context, Map, MapKey, MapValue, MemoryRead, Size};
use ProgramType::{SchedCls, SocketFilter, Xdp};
use Takes::{AnySocket, Known};

const READ: Takes = Known(MemoryRead { nullable: false });
const SIZE: Takes = Known(Size { zero: false });
const SIZE_OR_ZERO: Takes = Known(Size { zero: true });
const ANY: Takes = Known(Anything);
const CONTEXT: Takes = Known(Context);
const SCALAR: Gives = Gives::Known(Returns::Scalar);

const ALL: &[ProgramType] = &[Xdp, SchedCls, SocketFilter];
const DEVICE: &[ProgramType] = &[Xdp, SchedCls];
const SKB: &[ProgramType] = &[SchedCls, SocketFilter];
const CLS: &[ProgramType] = &[SchedCls];

/// Number, arguments, return value, whether only for GPL, whether the packet changes, types.
type Row = (
    u32,
    &'static [Takes],
    Gives,
    bool,
    bool,
    &'static [ProgramType],
);

const fn socket(socket: Socket, acquired: bool) -> Gives {
    Gives::Socket { socket, acquired }
}

/// Helpers that the catalogue does not have.
const MORE: &[Row] = &[
    (13, &[CONTEXT, ANY, ANY], SCALAR, false, true, CLS),
    (18, &[CONTEXT, ANY, ANY], SCALAR, false, true, CLS),
    (19, &[CONTEXT], SCALAR, false, true, CLS),
    (
        25,
        &[CONTEXT, Known(Map), ANY, READ, SIZE_OR_ZERO],
        SCALAR,
        true,
        false,
        ALL,
    ),
    (31, &[CONTEXT, ANY, ANY], SCALAR, false, true, CLS),
    (38, &[CONTEXT, ANY, ANY], SCALAR, false, true, CLS),
    (43, &[CONTEXT, ANY, ANY], SCALAR, false, true, CLS),
    (46, &[CONTEXT], SCALAR, false, false, SKB),
    (47, &[CONTEXT], SCALAR, false, false, SKB),
    (50, &[CONTEXT, ANY, ANY, ANY], SCALAR, false, true, CLS),
    (
        69,
        &[
            CONTEXT,
            Known(Argument::MemoryReadWrite { nullable: false }),
            SIZE,
            ANY,
        ],
        SCALAR,
        true,
        false,
        DEVICE,
    ),
    (
        87,
        &[Known(Map), Known(MapValue), ANY],
        SCALAR,
        false,
        false,
        ALL,
    ),
    (
        88,
        &[Known(Map), Known(Argument::MapValueWrite)],
        SCALAR,
        false,
        false,
        ALL,
    ),
    (
        89,
        &[Known(Map), Known(Argument::MapValueWrite)],
        SCALAR,
        false,
        false,
        ALL,
    ),
    (
        95,
        &[AnySocket],
        socket(Socket::Full, false),
        false,
        false,
        CLS,
    ),
    (
        96,
        &[AnySocket],
        socket(Socket::Tcp, false),
        false,
        false,
        CLS,
    ),
    (
        98,
        &[AnySocket],
        socket(Socket::Full, false),
        false,
        false,
        CLS,
    ),
    (134, &[Known(Map), ANY], SCALAR, false, false, ALL),
    (
        136,
        &[AnySocket],
        socket(Socket::Kernel, false),
        false,
        false,
        ALL,
    ),
    (
        137,
        &[AnySocket],
        socket(Socket::Kernel, false),
        false,
        false,
        ALL,
    ),
    (
        138,
        &[AnySocket],
        socket(Socket::Kernel, false),
        false,
        false,
        ALL,
    ),
    (
        139,
        &[AnySocket],
        socket(Socket::Kernel, false),
        false,
        false,
        ALL,
    ),
    (
        140,
        &[AnySocket],
        socket(Socket::Kernel, false),
        false,
        false,
        ALL,
    ),
    (
        195,
        &[Known(Map), Known(MapKey), ANY],
        Gives::Known(Returns::MapValueOrNull),
        false,
        false,
        ALL,
    ),
];

/// Helpers whose memory arguments may point into the packet.
const PACKET_ACCESS: &[u32] = &[
    number::MAP_LOOKUP_ELEM,
    number::MAP_UPDATE_ELEM,
    number::MAP_DELETE_ELEM,
    number::CSUM_DIFF,
    69,
    84,
    85,
    87,
    88,
    89,
    99,
    number::TCP_CHECK_SYNCOOKIE,
    number::TCP_GEN_SYNCOOKIE,
    195,
];

/// Helpers that turn one kind of socket into another.
const CASTS: &[u32] = &[95, 96, 136, 137, 138, 139, 140];

/// How many arguments a helper has, if it is known.
pub(super) fn argument_count(number: u32) -> Option<u32> {
    prototype(number, Xdp).map(|prototype| prototype.arguments.len() as u32)
}

/// The helper with this number as a program of this type sees it.
pub(super) fn prototype(number: u32, program_type: ProgramType) -> Option<Prototype> {
    let helper = helper::by_number(number)?;
    let packet_access = PACKET_ACCESS.contains(&number);
    if let Some(known) = helper.prototype {
        return Some(Prototype {
            arguments: known.arguments.iter().map(|takes| Known(*takes)).collect(),
            gives: Gives::Known(known.returns),
            gpl_only: known.gpl_only,
            changes_packet: known.changes_packet || number == number::TAIL_CALL,
            packet_access,
            casts: false,
            allowed: known.program_types.contains(&program_type),
        });
    }
    let row = MORE.iter().find(|row| row.0 == number)?;
    Some(Prototype {
        arguments: row.1.to_vec(),
        gives: row.2,
        gpl_only: row.3,
        changes_packet: row.4,
        packet_access,
        casts: CASTS.contains(&number),
        allowed: row.5.contains(&program_type),
    })
}
