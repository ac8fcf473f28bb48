//! Interfaces of a capture: link type, snapshot length and the unit of time stamps.

use pcap_file::Endianness;

use super::pcap::{u16_at, u32_at, u64_at};
use super::pcapng::options;
use super::{CaptureFault, LinkType};

const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_FCSLEN: u16 = 13;
const IF_TSOFFSET: u16 = 14;

/// What a capture says of one of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, if it has one; bytes that are no UTF-8 are replaced.
    pub name: Option<String>,
    /// What its packets begin with.
    pub link_type: LinkType,
    /// Longest capture of a packet; 0 is no limit.
    pub snaplen: u32,
    resolution: Resolution,
    /// Seconds to add to every time stamp.
    offset_s: i64,
}

/// Length of a time stamp's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// 10 to the power of minus n seconds.
    Decimal(u8),
    /// 2 to the power of minus n seconds.
    Binary(u8),
}

impl Interface {
    /// The interface of a file that describes none.
    pub(super) fn ethernet() -> Interface {
        Interface::of_file(LinkType::ETHERNET, 0)
    }

    /// The only interface of a pcap file, whose time stamps are no matter of the interface.
    pub(super) fn of_file(link_type: LinkType, snaplen: u32) -> Interface {
        Interface {
            name: None,
            link_type,
            snaplen,
            resolution: Resolution::Decimal(9),
            offset_s: 0,
        }
    }

    /// Reads the body of an interface description block.
    pub(super) fn from_block(order: Endianness, body: &[u8]) -> Result<Interface, CaptureFault> {
        if body.len() < 8 {
            return Err(CaptureFault::Block {
                block: "interface description",
                problem: "shorter than 8 bytes",
            });
        }
        let mut interface = Interface {
            name: None,
            link_type: LinkType {
                number: u16_at(order, body, 0).into(),
                fcs_bytes: 0,
            },
            snaplen: u32_at(order, body, 4),
            resolution: Resolution::Decimal(6),
            offset_s: 0,
        };
        for (code, value) in options(order, &body[8..]) {
            match (code, value) {
                (IF_NAME, name) => {
                    interface.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                (IF_TSRESOL, &[power]) if power & 0x80 == 0 => {
                    interface.resolution = Resolution::Decimal(power);
                }
                (IF_TSRESOL, &[power]) => interface.resolution = Resolution::Binary(power & 0x7f),
                (IF_FCSLEN, &[bits]) => interface.link_type.fcs_bytes = bits / 8,
                (IF_TSOFFSET, offset) if offset.len() == 8 => {
                    interface.offset_s = u64_at(order, offset, 0) as i64;
                }
                _ => {}
            }
        }
        Ok(interface)
    }

    /// The time of a stamp of this interface in ns since 1970; times that 64 bits cannot hold are clamped.
    pub(super) fn time_ns(&self, ticks: u64) -> u64 {
        let ticks = u128::from(ticks);
        let ns = match self.resolution {
            Resolution::Decimal(power @ 0..=9) => ticks * 10u128.pow(u32::from(9 - power)),
            // Above 10^38 no 64-bit stamp reaches a nanosecond.
            Resolution::Decimal(power) => 10u128
                .checked_pow(u32::from(power - 9))
                .map_or(0, |units| ticks / units),
            Resolution::Binary(power) => (ticks * 1_000_000_000) >> power,
        };
        let shifted = ns as i128 + i128::from(self.offset_s) * 1_000_000_000;
        shifted.clamp(0, u64::MAX.into()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(resolution: Resolution, offset_s: i64, ticks: u64) -> u64 {
        Interface {
            name: None,
            link_type: LinkType::ETHERNET,
            snaplen: 0,
            resolution,
            offset_s,
        }
        .time_ns(ticks)
    }

    #[test]
    fn units_are_powers_of_ten_or_two() {
        assert_eq!(time(Resolution::Decimal(0), 0, 3), 3_000_000_000);
        assert_eq!(time(Resolution::Decimal(6), 0, 3), 3_000);
        assert_eq!(time(Resolution::Decimal(12), 0, 3_999), 3);
        assert_eq!(time(Resolution::Decimal(127), 0, u64::MAX), 0);
        assert_eq!(time(Resolution::Binary(10), 0, 1536), 1_500_000_000);
        assert_eq!(time(Resolution::Binary(127), 0, u64::MAX), 0);
    }

    #[test]
    fn offsets_shift_and_extremes_are_clamped() {
        assert_eq!(time(Resolution::Decimal(9), 2, 5), 2_000_000_005);
        assert_eq!(time(Resolution::Decimal(9), -1, 5), 0);
        assert_eq!(time(Resolution::Decimal(0), i64::MAX, u64::MAX), u64::MAX);
        assert_eq!(time(Resolution::Decimal(0), i64::MIN, 0), 0);
    }
}
