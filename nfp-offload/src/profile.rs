//! What a card's firmware can do: the values of its BPF control registers and of its capability
//! table, which the checks and the translator read.

use serde::{Deserialize, Serialize};

/// A firmware with a BPF data path, as its control registers and capability TLVs describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirmwareProfile {
    /// Name of the profile.
    pub name: String,
    /// Version of the ABI, 2 or 3.
    pub abi: u8,
    /// Address of a program's first word in the instruction store.
    pub start_offset: u16,
    /// Address to which a program branches when it is done.
    pub done_offset: u16,
    /// The most words that a program may have.
    pub max_len: u16,
    /// Stack of an ME context, in bytes.
    pub stack_bytes: u16,
    /// Part of a packet that is in CTM, in units of 64 bytes.
    pub inline_mtu: u16,
    /// MTU of the port.
    pub port_mtu: u32,
    /// `bpf_xdp_adjust_head`, if there.
    pub adjust_head: Option<AdjustHead>,
    /// `bpf_xdp_adjust_tail` is there.
    pub adjust_tail: bool,
    /// `bpf_get_prandom_u32` is there.
    pub random: bool,
    /// Programs may choose the RX queue.
    pub queue_select: bool,
    /// Maps, if there.
    pub maps: Option<MapLimits>,
    /// Helpers that are firmware routines.
    pub helpers: HelperAddresses,
}

/// Limits of `bpf_xdp_adjust_head`: offsets of the packet in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjustHead {
    /// Bit 0: packet metadata does not have to be moved.
    pub flags: u32,
    /// The lowest offset.
    pub offset_min: u32,
    /// The highest offset.
    pub offset_max: u32,
    /// Room that a packet from the wire always has in front.
    pub guaranteed_sub: u32,
    /// How far a packet from the wire can always move back.
    pub guaranteed_add: u32,
}

impl AdjustHead {
    /// Packet metadata does not have to be moved.
    pub const NO_META: u32 = 1;
}

/// Limits of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapLimits {
    /// Bit n: the kernel's map type n is there (1 hash, 2 array).
    pub types: u32,
    /// Maps on the card.
    pub max_maps: u32,
    /// Entries of all maps together.
    pub max_elements: u32,
    /// Bytes of a key.
    pub max_key: u32,
    /// Bytes of a value.
    pub max_value: u32,
    /// Bytes of key and value together, each rounded up to 8.
    pub max_entry: u32,
}

/// Addresses of helper routines in the instruction store; 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperAddresses {
    /// `bpf_map_lookup_elem`
    pub map_lookup: u16,
    /// `bpf_map_update_elem`
    pub map_update: u16,
    /// `bpf_map_delete_elem`
    pub map_delete: u16,
    /// `bpf_perf_event_output`
    pub perf_event_output: u16,
}

/// A setting that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No setting of this name.
    #[error("there is no firmware setting `{setting}`")]
    UnknownSetting {
        /// The token.
        setting: String,
    },
    /// The last setting has no value.
    #[error("firmware setting `{setting}` needs a value")]
    MissingValue {
        /// The token.
        setting: String,
    },
    /// The value is not of the right form.
    #[error("firmware setting `{setting}`: `{value}` is not {expected}")]
    Value {
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

const HASH_AND_ARRAY: u32 = 1 << 1 | 1 << 2;

impl FirmwareProfile {
    /// Every capability that the driver knows, with the largest sizes.
    pub fn full() -> Self {
        Self {
            name: "full".into(),
            max_len: 8192,
            maps: Some(MapLimits {
                max_key: 64,
                max_value: 64,
                max_entry: 128,
                ..MapLimits::PUBLIC
            }),
            helpers: HelperAddresses {
                map_lookup: 1000,
                map_update: 1100,
                map_delete: 1200,
                perf_event_output: 1300,
            },
            ..Self::nic_public()
        }
    }

    /// The open "nic" firmware as published: maps can be looked up only.
    pub fn nic_public() -> Self {
        Self {
            name: "nic-public".into(),
            abi: 2,
            start_offset: 3072,
            done_offset: 1,
            max_len: 2560,
            stack_bytes: 512,
            inline_mtu: 30,
            port_mtu: 1500,
            adjust_head: Some(AdjustHead {
                flags: AdjustHead::NO_META,
                offset_min: 44,
                offset_max: 248,
                guaranteed_sub: 84,
                guaranteed_add: 112,
            }),
            adjust_tail: true,
            random: true,
            queue_select: true,
            maps: Some(MapLimits::PUBLIC),
            helpers: HelperAddresses {
                map_lookup: 1000,
                map_update: 0,
                map_delete: 0,
                perf_event_output: 0,
            },
        }
    }

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        let full = Self::full();
        Some(match name {
            "full" => full,
            "full-abi3" => Self {
                name: name.into(),
                abi: 3,
                ..full
            },
            "nic-public" => Self::nic_public(),
            "none" => {
                let mut none = Self::nic_public();
                none.name = name.into();
                none.adjust_head = None;
                none.adjust_tail = false;
                none.random = false;
                none.queue_select = false;
                none.maps = None;
                none.helpers.map_lookup = 0;
                none
            }
            _ => return None,
        })
    }

    /// The profile with `--name value` settings applied in order.
    pub fn with_settings<S: AsRef<str>>(
        mut self,
        tokens: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProfileError> {
        let mut tokens = tokens.into_iter();
        while let Some(setting) = tokens.next() {
            let setting = setting.as_ref();
            let value = tokens.next().ok_or_else(|| ProfileError::MissingValue {
                setting: setting.into(),
            })?;
            self.set(setting, value.as_ref())?;
        }
        Ok(self)
    }

    fn set(&mut self, setting: &str, value: &str) -> Result<(), ProfileError> {
        let number = || numbers::<1>(setting, value).map(|[number]| number);
        let short = || narrow(setting, value, number()?);
        match setting {
            "--fw" => {
                *self = Self::named(value).ok_or_else(|| {
                    value_error(setting, value, "full, full-abi3, nic-public or none")
                })?;
            }
            "--adjust-head" => self.adjust_head = adjust_head(setting, value)?,
            "--adjust-tail" => self.adjust_tail = number()? != 0,
            "--random" => self.random = number()? != 0,
            "--qsel" => self.queue_select = number()? != 0,
            "--helpers" => {
                let addresses = numbers::<4>(setting, value)?;
                let [map_lookup, map_update, map_delete, perf_event_output] =
                    addresses.map(|address| narrow(setting, value, address));
                self.helpers = HelperAddresses {
                    map_lookup: map_lookup?,
                    map_update: map_update?,
                    map_delete: map_delete?,
                    perf_event_output: perf_event_output?,
                };
            }
            "--map-caps" => self.maps = map_limits(setting, value)?,
            "--abi" => self.abi = narrow(setting, value, number()?)?,
            "--start-off" => self.start_offset = short()?,
            "--done" => self.done_offset = short()?,
            "--max-len" => self.max_len = short()?,
            "--stack" => self.stack_bytes = short()?,
            "--inl-mtu" => self.inline_mtu = short()?,
            "--mtu" => self.port_mtu = number()?,
            _ => {
                return Err(ProfileError::UnknownSetting {
                    setting: setting.into(),
                });
            }
        }
        Ok(())
    }
}

impl MapLimits {
    const PUBLIC: Self = Self {
        types: HASH_AND_ARRAY,
        max_maps: 128,
        max_elements: 2_048_000,
        max_key: 56,
        max_value: 56,
        max_entry: 64,
    };

    /// Whether maps of the kernel's type `map_type` are there.
    pub const fn has_type(&self, map_type: u32) -> bool {
        map_type < u32::BITS && self.types >> map_type & 1 == 1
    }
}

fn value_error(setting: &str, value: &str, expected: &'static str) -> ProfileError {
    ProfileError::Value {
        setting: setting.into(),
        value: value.into(),
        expected,
    }
}

/// `COUNT` numbers with commas between them.
fn numbers<const COUNT: usize>(setting: &str, value: &str) -> Result<[u32; COUNT], ProfileError> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let numbers: Option<Vec<u32>> = value.split(',').map(number).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| {
            let expected = match COUNT {
                1 => "a number",
                4 => "four numbers",
                5 => "five numbers or `off`",
                _ => "six numbers or `off`",
            };
            value_error(setting, value, expected)
        })
}

fn narrow<T: TryFrom<u32>>(setting: &str, value: &str, number: u32) -> Result<T, ProfileError> {
    T::try_from(number).map_err(|_| value_error(setting, value, "in range"))
}

fn adjust_head(setting: &str, value: &str) -> Result<Option<AdjustHead>, ProfileError> {
    if value == "off" {
        return Ok(None);
    }
    let [
        flags,
        offset_min,
        offset_max,
        guaranteed_sub,
        guaranteed_add,
    ] = numbers(setting, value)?;
    Ok(Some(AdjustHead {
        flags,
        offset_min,
        offset_max,
        guaranteed_sub,
        guaranteed_add,
    }))
}

fn map_limits(setting: &str, value: &str) -> Result<Option<MapLimits>, ProfileError> {
    if value == "off" {
        return Ok(None);
    }
    let [types, max_maps, max_elements, max_key, max_value, max_entry] = numbers(setting, value)?;
    Ok(Some(MapLimits {
        types,
        max_maps,
        max_elements,
        max_key,
        max_value,
        max_entry,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_change_the_profile() {
        let profile = FirmwareProfile::full()
            .with_settings([
                "--adjust-head",
                "0,44,248,84,112",
                "--helpers",
                "1000,1100,1200,0",
                "--max-len",
                "2560",
                "--map-caps",
                "0x2,1,2,3,4,5",
            ])
            .unwrap();
        assert_eq!(profile.adjust_head.unwrap().flags, 0);
        assert_eq!(profile.helpers.perf_event_output, 0);
        assert_eq!(profile.max_len, 2560);
        let maps = profile.maps.unwrap();
        assert!(maps.has_type(1) && !maps.has_type(2) && !maps.has_type(99));
        let public = profile.with_settings(["--fw", "nic-public"]).unwrap();
        assert_eq!(public, FirmwareProfile::nic_public());
    }

    #[test]
    fn wrong_settings_are_named() {
        let error = |tokens: &[&str]| {
            FirmwareProfile::full()
                .with_settings(tokens)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(&["--what", "1"]),
            "there is no firmware setting `--what`"
        );
        assert_eq!(error(&["--mtu"]), "firmware setting `--mtu` needs a value");
        assert_eq!(
            error(&["--adjust-head", "1,2"]),
            "firmware setting `--adjust-head`: `1,2` is not five numbers or `off`"
        );
        assert_eq!(
            error(&["--max-len", "70000"]),
            "firmware setting `--max-len`: `70000` is not in range"
        );
    }

    #[test]
    fn a_profile_file_is_the_profile() {
        let full = FirmwareProfile::full();
        let text = toml::to_string(&full).unwrap();
        assert_eq!(toml::from_str::<FirmwareProfile>(&text).unwrap(), full);
    }
}
