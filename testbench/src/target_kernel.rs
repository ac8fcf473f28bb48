//! The kernel that an object is loaded for: its types and configuration, from files or from the
//! running kernel. They are read only for objects that ask.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use flate2::read::GzDecoder;
use iom_core::module::Module;
use iom_core::object::{Kernel, KernelConfig, KernelNeeds, KernelTypes, load_object_for};

/// Where the running kernel shows its types.
const RUNNING_TYPES: &str = "/sys/kernel/btf/vmlinux";
/// Most bytes of a configuration, which is some hundred thousand.
const MAX_CONFIG: u64 = 16 << 20;

/// Where an object's questions about the kernel are answered from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetKernel {
    /// Types for CO-RE relocations: BTF or an ELF file with .BTF; else the running kernel's
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Kernel configuration for variables of it (`__kconfig`), plain or compressed with gzip; else
    /// the running kernel's
    #[arg(long, value_name = "FILE")]
    pub kconfig: Option<PathBuf>,
}

impl TargetKernel {
    /// The words of a command line that say the same.
    pub fn words(&self) -> Vec<String> {
        let options = [("--btf", &self.btf), ("--kconfig", &self.kconfig)];
        let given = options.into_iter().filter_map(|(name, path)| {
            let path = path.as_ref()?;
            Some([name.to_owned(), path.display().to_string()])
        });
        given.flatten().collect()
    }

    /// Loads an object for this kernel. Where nothing is known of it, the programs that ask are
    /// refused.
    ///
    /// # Errors
    /// Files that cannot be read, and objects that cannot be loaded.
    pub fn load(&self, bytes: &[u8], name: &str) -> anyhow::Result<Module> {
        let needs = KernelNeeds::of(bytes);
        let types = if needs.types { self.types()? } else { None };
        let config = if needs.config { self.config()? } else { None };
        let kernel = Kernel {
            types: types.as_deref(),
            config: config.as_ref(),
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

impl TargetKernel {
    fn config(&self) -> anyhow::Result<Option<KernelConfig>> {
        if let Some(path) = &self.kconfig {
            return read_config(path).map(Some);
        }
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let boot = format!("/boot/config-{}", release.trim());
        let places = ["/proc/config.gz", &boot];
        let mut found = places.iter().map(|path| read_config(Path::new(path)));
        Ok(found.find_map(Result::ok))
    }
}

fn read_config(path: &Path) -> anyhow::Result<KernelConfig> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut decoder = GzDecoder::new(&*bytes).take(MAX_CONFIG);
        decoder.read_to_string(&mut text).with_context(shown)?;
    } else {
        text = String::from_utf8(bytes).with_context(shown)?;
    }
    Ok(KernelConfig::parse(&text))
}

fn read_types(path: &Path) -> anyhow::Result<Arc<KernelTypes>> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    Ok(Arc::new(KernelTypes::parse(&bytes).with_context(shown)?))
}
