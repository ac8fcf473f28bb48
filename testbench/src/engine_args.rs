//! How backends are set up, as the commands that name one take it.

use std::path::Path;

use anyhow::Context;
use iom_core::abi::Backend;
use iom_nfp_offload::backend::Nfp;
use iom_nfp_offload::profile::FirmwareProfile;

use crate::engine::Engine;
use crate::exit::Failure;

/// Options of the backends.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineArgs {
    /// Load programs into the kernel as they are: time and random numbers are then its own
    #[arg(long)]
    pub no_rewrite: bool,
    /// Firmware of the nfp backend: a profile as in `iom offload`, or a profile file (.toml)
    #[arg(long, default_value = DEFAULT_FIRMWARE, value_name = "NAME|FILE")]
    pub firmware: String,
}

/// Name of the firmware that is taken if none is named.
pub const DEFAULT_FIRMWARE: &str = "full";

impl Default for EngineArgs {
    fn default() -> Self {
        Self {
            no_rewrite: false,
            firmware: DEFAULT_FIRMWARE.to_owned(),
        }
    }
}

impl EngineArgs {
    /// The model of the card.
    ///
    /// # Errors
    /// Another engine; firmware that is not there or cannot be read.
    pub fn nfp(&self, engine: Engine) -> anyhow::Result<Nfp> {
        let nfp = Nfp::new(firmware(&self.firmware)?);
        match engine {
            Engine::Nfp => Ok(nfp),
            Engine::NfpFixed => Ok(nfp.fixed()),
            Engine::SimInterpreter | Engine::Kernel => Err(Failure::usage(format!(
                "cycles are counted on nfp, not {engine}"
            ))),
        }
    }

    /// The backend of an engine.
    ///
    /// # Errors
    /// Firmware that is not there or cannot be read.
    pub fn backend(&self, engine: Engine) -> anyhow::Result<Box<dyn Backend>> {
        Ok(engine.backend(!self.no_rewrite, &firmware(&self.firmware)?))
    }
}

/// A profile that comes along, or one in a file.
///
/// # Errors
/// An unknown name, a file that cannot be read or is no profile.
pub fn firmware(name: &str) -> anyhow::Result<FirmwareProfile> {
    if let Some(profile) = FirmwareProfile::named(name) {
        return Ok(profile);
    }
    if Path::new(name)
        .extension()
        .is_none_or(|extension| extension != "toml")
    {
        let names: Vec<_> = FirmwareProfile::names().collect();
        return Err(Failure::usage(format!(
            "no firmware profile {name}; there are {}, or name a file (.toml)",
            names.join(", ")
        )));
    }
    let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
    FirmwareProfile::parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}
