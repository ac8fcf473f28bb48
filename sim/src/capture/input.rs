//! Which capture goes into which port: `[PORT@]FILE`, as bmv2 writes it.

use std::convert::Infallible;
use std::str::FromStr;

/// A capture and the port that receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Port number; 0 if none was given.
    pub port: u32,
    /// The file, `-` for standard input.
    pub file: String,
}

impl FromStr for Input {
    type Err = Infallible;

    /// A prefix that is no number belongs to the file's name.
    fn from_str(text: &str) -> Result<Input, Infallible> {
        let (port, file) = match text
            .split_once('@')
            .map(|(port, file)| (port.parse(), file))
        {
            Some((Ok(port), file)) => (port, file),
            _ => (0, text),
        };
        Ok(Input {
            port,
            file: file.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_optional() {
        let input = |text: &str| {
            text.parse::<Input>()
                .map(|input| (input.port, input.file))
                .unwrap()
        };
        assert_eq!(input("3@a@b.pcap"), (3, "a@b.pcap".to_owned()));
        assert_eq!(input("-"), (0, "-".to_owned()));
        assert_eq!(input("me@host.pcap"), (0, "me@host.pcap".to_owned()));
    }
}
