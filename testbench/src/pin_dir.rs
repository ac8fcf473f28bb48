//! Maps that a program pins by name (`LIBBPF_PIN_BY_NAME`), kept from run to run: one map file
//! `NAME.json` each, in a directory that stands for a BPF file system. Any backend reads and writes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use iom_core::map::{MapContents, MapSpec, to_json};
use iom_core::module::Module;

use crate::exit::Failure;

/// The directory, and the file of each pinned map by the map's index in the module.
#[derive(Debug)]
pub struct PinDir {
    files: Vec<(usize, PathBuf)>,
}

impl PinDir {
    /// Finds the files of a module's pinned maps, and makes the directory.
    ///
    /// # Errors
    /// A map whose name is no file name; a directory that cannot be made.
    pub fn open(dir: &Path, module: &Module) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let pinned = module.maps.iter().enumerate();
        let pinned = pinned.filter(|(_, spec)| spec.pin_by_name);
        let file = |(index, spec): (usize, &MapSpec)| {
            let name = &spec.name;
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
                let message = format!("map {name} is pinned by a name that no file can have");
                return Err(Failure::usage(message));
            }
            Ok((index, dir.join(format!("{name}.json"))))
        };
        Ok(Self {
            files: pinned.map(file).collect::<anyhow::Result<_>>()?,
        })
    }

    /// The files that are there.
    pub fn present(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.files.iter().map(|(_, file)| file);
        files.filter(|file| file.exists()).cloned()
    }

    /// Writes what the pinned maps hold.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, module: &Module, contents: &[MapContents]) -> anyhow::Result<()> {
        for (index, file) in &self.files {
            let map = [(&module.maps[*index], &contents[*index])];
            let text = to_json(&module.maps, &map, |_, _| None);
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(())
    }
}
