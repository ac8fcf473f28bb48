//! How a file becomes a module: the kernel that it is for, and what the user sets before it is
//! loaded.

use iom_core::module::Module;
use iom_core::object::set_parameters;

use crate::exit::Failure;
use crate::manifest::Manifest;
use crate::target_kernel::TargetKernel;

/// What is said of a program's file, beside which of its programs is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LoadArgs {
    #[command(flatten)]
    pub(crate) kernel: TargetKernel,
    /// Give a global variable another value before the program is loaded: a number, true or false,
    /// an enumerator, text, bytes as 0x…, elements with commas; NAME may be var.member or var[1]
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Give a map another size before it is created, as loaders do where the object says 0
    #[arg(long = "max-entries", value_name = "MAP=COUNT", value_parser = size)]
    sizes: Vec<(String, u32)>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (name, value) = parts.ok_or("a parameter is NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=');
    let (name, count) = parts.ok_or("a size is MAP=COUNT")?;
    let count = count.trim().parse();
    let count = count.map_err(|error| format!("{text}: {error}"))?;
    Ok((name.trim().to_owned(), count))
}

impl LoadArgs {
    /// For this kernel, with nothing set.
    pub fn for_kernel(kernel: TargetKernel) -> Self {
        Self {
            kernel,
            ..Self::default()
        }
    }

    /// These, over those of a manifest.
    pub(crate) fn over(&self, manifest: &Manifest) -> Self {
        let parameters = manifest.parameters.iter();
        let parameters = parameters.map(|(name, value)| (name.clone(), value.to_string()));
        let sizes = manifest.max_entries.iter();
        let sizes = sizes.map(|(name, count)| (name.clone(), *count));
        Self {
            kernel: self.kernel.clone(),
            parameters: parameters.chain(self.parameters.clone()).collect(),
            sizes: sizes.chain(self.sizes.clone()).collect(),
        }
    }

    /// Sets what is to be set.
    ///
    /// # Errors
    /// Names that the module does not have, values that do not fit.
    pub(crate) fn apply(&self, module: &mut Module) -> anyhow::Result<()> {
        let parameters = self.parameters.iter();
        set_parameters(module, parameters.map(|(name, value)| (&**name, &**value)))?;
        for (name, count) in &self.sizes {
            let mut maps = module.maps.iter_mut().filter(|map| !map.data_section);
            let Some(map) = maps.find(|map| map.name == *name) else {
                let maps = module.maps.iter().filter(|map| !map.data_section);
                let names: Vec<_> = maps.map(|map| &*map.name).collect();
                return Err(Failure::usage(format!(
                    "--max-entries {name}: there is no such map; there are {}",
                    names.join(", ")
                )));
            };
            map.max_entries = *count;
        }
        Ok(())
    }

    /// The words of a command line that say the same.
    pub fn words(&self) -> Vec<String> {
        let mut words = self.kernel.words();
        for (name, value) in &self.parameters {
            words.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        for (name, count) in &self.sizes {
            words.extend(["--max-entries".to_owned(), format!("{name}={count}")]);
        }
        words
    }
}
