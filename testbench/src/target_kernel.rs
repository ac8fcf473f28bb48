//! The kernel that an object is loaded for: its types, from a file or the running kernel. They are
//! read only for objects that ask, and once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use iom_core::module::Module;
use iom_core::object::{Kernel, KernelNeeds, KernelTypes, load_object_for};

/// Where the running kernel shows its types.
const RUNNING_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Where an object's questions about the kernel are answered from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetKernel {
    /// Types for CO-RE relocations: BTF or an ELF file with .BTF; else the running kernel's
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
}

impl TargetKernel {
    /// The words of a command line that say the same.
    pub fn words(&self) -> Vec<String> {
        let btf = self.btf.iter();
        btf.flat_map(|path| ["--btf".to_owned(), path.display().to_string()])
            .collect()
    }

    /// Loads an object for this kernel. Where nothing is known of it, the programs that ask are
    /// refused.
    ///
    /// # Errors
    /// Files that cannot be read, and objects that cannot be loaded.
    pub fn load(&self, bytes: &[u8], name: &str) -> anyhow::Result<Module> {
        let needs = KernelNeeds::of(bytes);
        let types = if needs.types { self.types()? } else { None };
        let kernel = Kernel {
            types: types.as_deref(),
        };
        Ok(load_object_for(bytes, name, &kernel)?)
    }

    fn types(&self) -> anyhow::Result<Option<Arc<KernelTypes>>> {
        static RUNNING: OnceLock<Option<Arc<KernelTypes>>> = OnceLock::new();
        if let Some(path) = &self.btf {
            return read_types(path).map(Some);
        }
        let running = RUNNING.get_or_init(|| read_types(Path::new(RUNNING_TYPES)).ok());
        Ok(running.clone())
    }
}

fn read_types(path: &Path) -> anyhow::Result<Arc<KernelTypes>> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    Ok(Arc::new(KernelTypes::parse(&bytes).with_context(shown)?))
}
