//! A kernel's configuration: the text of `/proc/config.gz` or `/boot/config-*`.

use std::collections::HashMap;

/// Options and version of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelConfig {
    /// Values as written, by name.
    options: HashMap<String, String>,
    /// As `LINUX_KERNEL_VERSION` has it; 0 if unknown.
    version: u32,
}

impl KernelConfig {
    /// Reads a configuration. Its title says the version; lines that are no options are skipped.
    pub fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            if line.starts_with("CONFIG_") {
                if let Some((name, value)) = line.split_once('=') {
                    let known = config.options.entry(name.to_owned());
                    known.or_insert_with(|| value.trim_end().to_owned());
                }
            } else if let Some(title) = line.strip_prefix("# Linux/") {
                let release = title.split_whitespace().nth(1);
                config.version = release.and_then(version).unwrap_or(config.version);
            }
        }
        config
    }

    /// The version (`major << 16 | minor << 8 | patch`), if the configuration says it.
    pub(super) fn version(&self) -> Option<u32> {
        (self.version > 0).then_some(self.version)
    }

    /// The value of an option as written.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

/// `6.1.192-2` as a number; patch levels above 255 stay at 255 (`KERNEL_VERSION`).
fn version(release: &str) -> Option<u32> {
    let numeric = release.split(|c: char| c != '.' && !c.is_ascii_digit());
    let mut numbers = numeric.take(1).flat_map(|text| text.split('.'));
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    let (major, minor) = (next()?, next()?);
    let patch = next().unwrap_or(0).min(255);
    Some(major.min(0xffff) << 16 | minor.min(255) << 8 | patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_version() {
        let text = "#\n# Linux/x86 6.1.300-rc1 Kernel Configuration\n#\nCONFIG_A=y\nCONFIG_A=n\n\
                    # CONFIG_B is not set\nCONFIG_C=\"a=b\"\n";
        let config = KernelConfig::parse(text);
        assert_eq!(config.version(), Some(0x0006_01ff));
        assert_eq!(config.option("CONFIG_A"), Some("y"));
        assert_eq!(config.option("CONFIG_B"), None);
        assert_eq!(config.option("CONFIG_C"), Some("\"a=b\""));
        assert_eq!(KernelConfig::parse("# Linux/x86 x.y\n").version(), None);
    }
}
