//! Backends by name: the only place that names the concrete ones.

use std::fmt;
use std::str::FromStr;

use iom_backends::interpreter::{Interpreter, Observe};
use iom_backends::kernel::{KernelBackend, KernelConfig};
use iom_core::abi::Backend;
use iom_nfp_offload::backend::Nfp;
use iom_nfp_offload::profile::FirmwareProfile;

/// A backend and its engine, as the user writes it: `sim`, `sim:interp`, `kernel`, `nfp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The simulator with the interpreter.
    SimInterpreter,
    /// The running kernel.
    Kernel,
    /// The model of the NFP's micro-engines.
    Nfp,
    /// The same, with words that have none of the driver's defects.
    NfpFixed,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 3] = [Self::SimInterpreter, Self::Kernel, Self::Nfp];

    /// Name of the backend.
    pub const fn backend_name(self) -> &'static str {
        match self {
            Self::SimInterpreter => "sim",
            Self::Kernel => "kernel",
            Self::Nfp | Self::NfpFixed => "nfp",
        }
    }

    /// Name of the engine within the backend.
    pub const fn engine_name(self) -> &'static str {
        match self {
            Self::SimInterpreter => "interp",
            Self::Kernel => "jit",
            Self::Nfp => "model",
            Self::NfpFixed => "fixed",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.backend_name())?;
        match self {
            Self::NfpFixed => f.write_str(":fixed"),
            Self::SimInterpreter | Self::Kernel | Self::Nfp => Ok(()),
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sim" | "sim:interp" => Ok(Self::SimInterpreter),
            "kernel" => Ok(Self::Kernel),
            "nfp" => Ok(Self::Nfp),
            "nfp:fixed" => Ok(Self::NfpFixed),
            other => Err(format!(
                "no backend `{other}`: there are sim (engine sim:interp), kernel and nfp (without the driver's defects: nfp:fixed)"
            )),
        }
    }
}

impl Engine {
    /// CPUs that the backend brings along, whatever the number of queues: the kernel counts with
    /// all that the machine may have.
    pub fn cpus(self) -> u32 {
        match self {
            Self::Kernel => KernelBackend::cpus(),
            Self::SimInterpreter | Self::Nfp | Self::NfpFixed => 1,
        }
    }

    /// The backend itself. `rewrite` prepares programs for deterministic replay on the kernel,
    /// `firmware` is that of the card.
    pub fn backend(self, rewrite: bool, firmware: &FirmwareProfile) -> Box<dyn Backend> {
        match self {
            Self::SimInterpreter => Box::new(Interpreter::default()),
            Self::Kernel => Box::new(KernelBackend {
                config: KernelConfig { rewrite },
            }),
            Self::Nfp => Box::new(Nfp::new(firmware.clone())),
            Self::NfpFixed => Box::new(Nfp::new(firmware.clone()).fixed()),
        }
    }

    /// The simulator with the interpreter, which looks at what runs.
    pub fn observing(observe: Observe) -> Box<dyn Backend> {
        Box::new(Interpreter {
            observe,
            ..Interpreter::default()
        })
    }

    /// Length to which frames are padded before they reach the backend, as its MAC does.
    pub const fn pad_to(self) -> usize {
        match self {
            Self::SimInterpreter | Self::Kernel => 0,
            Self::Nfp | Self::NfpFixed => 60,
        }
    }

    /// Whether the whole 32-bit return value comes back, not only the action.
    pub const fn keeps_retval(self) -> bool {
        match self {
            Self::SimInterpreter | Self::Kernel => true,
            Self::Nfp | Self::NfpFixed => false,
        }
    }
}
