//! What a card's firmware can do: the values of its BPF control registers and of its capability
//! table, which the checks and the translator read.

use serde::{Deserialize, Serialize};

/// A firmware with a BPF data path, as its control registers and capability TLVs describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent capabilities of the firmware"
)]
pub struct FirmwareProfile {
    /// Name of the profile.
    pub name: String,
    /// The card, where the profile is that of one.
    pub card: Option<Card>,
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
    /// A program can be replaced while packets come.
    pub live_reload: bool,
    /// Programs may choose the RX queue.
    pub queue_select: bool,
    /// Maps, if there.
    pub maps: Option<MapLimits>,
    /// Helpers that are firmware routines.
    pub helpers: HelperAddresses,
}

/// What runs the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Clock of the micro-engines.
    pub clock_mhz: u32,
    /// Micro-engines that run programs.
    pub micro_engines: u32,
    /// ME contexts of each.
    pub contexts: u32,
    /// Speed of all ports together.
    pub wire_gbps: u32,
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

    /// Offsets fit the operands that compare them, and there is an offset: else the driver does as
    /// if the capability was missing.
    pub const fn is_usable(&self) -> bool {
        self.offset_min <= 255 && self.offset_max <= 255 && self.offset_max != 0
    }
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
    /// A file that is no profile.
    #[error("no firmware profile: {message}")]
    File {
        /// Why.
        message: String,
    },
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

/// The profiles that come along, by name.
const PROFILES: [(&str, &str); 8] = [
    ("full", include_str!("../profiles/full.toml")),
    ("full-abi3", include_str!("../profiles/full-abi3.toml")),
    ("nic-public", include_str!("../profiles/nic-public.toml")),
    ("none", include_str!("../profiles/none.toml")),
    (
        "agilio-cx-2x10",
        include_str!("../profiles/agilio-cx-2x10.toml"),
    ),
    (
        "agilio-cx-2x25",
        include_str!("../profiles/agilio-cx-2x25.toml"),
    ),
    (
        "agilio-cx-2x40",
        include_str!("../profiles/agilio-cx-2x40.toml"),
    ),
    ("agilio-lx", include_str!("../profiles/agilio-lx.toml")),
];

impl FirmwareProfile {
    /// Every capability that the driver knows, with the largest sizes.
    ///
    /// # Panics
    /// Never: the file is part of the program.
    pub fn full() -> Self {
        Self::named("full").expect("there is a profile `full`")
    }

    /// The profile of this name, of those that come along.
    ///
    /// # Panics
    /// Never: the files are part of the program.
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = PROFILES.iter().find(|(profile, _)| *profile == name)?;
        Some(Self::parse(text).expect("the profiles that come along are right"))
    }

    /// Names of the profiles that come along.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// Reads a profile file.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        toml::from_str(text).map_err(|error| ProfileError::File {
            message: error.to_string(),
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
                *self = Self::named(value)
                    .ok_or_else(|| value_error(setting, value, "the name of a firmware profile"))?;
            }
            "--adjust-head" => self.adjust_head = adjust_head(setting, value)?,
            "--adjust-tail" => self.adjust_tail = number()? != 0,
            "--random" => self.random = number()? != 0,
            "--live-reload" => self.live_reload = number()? != 0,
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
        assert_eq!(Some(public), FirmwareProfile::named("nic-public"));
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
    fn profiles_that_come_along_can_be_read_and_written() {
        for name in FirmwareProfile::names() {
            let profile = FirmwareProfile::named(name).unwrap();
            assert_eq!(profile.name, name);
            let text = toml::to_string(&profile).unwrap();
            assert_eq!(FirmwareProfile::parse(&text), Ok(profile));
        }
        let error = FirmwareProfile::parse("name = 1").unwrap_err();
        assert!(error.to_string().starts_with("no firmware profile: "));
    }
}
