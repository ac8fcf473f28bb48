//! Arguments that `iom run` and `iom check` share: captures, queues, seeds and limits.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use iom_core::abi::{Environment, Network};
use iom_sim::capture::{Input, MergedReader, Order, OtherLinks, Policy, Truncated};
use iom_sim::replay::{Ingress, IngressConfig, PacketNumbers};
use iom_sim::rss::{DEFAULT_KEY, Rss, SYMMETRIC_KEY};

use crate::exit::Failure;
use crate::lane::Setup;

/// Captures and how they come into the device.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Capture (pcap, pcapng, gzip, zstd, or frames as JSON; `-` for standard input) and the port
    /// that receives it, 0 if not given. Several are merged by time
    #[arg(short, long = "input", value_name = "[PORT@]FILE", required = true)]
    pub inputs: Vec<Input>,
    /// Replay the captures of one port one after the other instead of merged by time
    #[arg(long)]
    pub in_order: bool,
    /// Frames that were cut when captured
    #[arg(long, value_enum, default_value_t = TruncatedPolicy::Captured, value_name = "POLICY")]
    pub truncated: TruncatedPolicy,
    /// Captures of other link types than Ethernet
    #[arg(long, value_enum, default_value_t = LinkPolicy::Refuse, value_name = "POLICY")]
    pub links: LinkPolicy,
    /// RX queues of each port; each is a CPU to the program
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub queues: u32,
    /// Ports of the device, if more than the manifest and the captures name
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub ports: Option<u32>,
    /// Interfaces, routes, neighbours and rules that `fib_lookup` and `check_mtu` see (TOML, or
    /// JSON if the file's name ends so)
    #[arg(long, value_name = "FILE")]
    pub fib: Option<PathBuf>,
    /// Key of the Toeplitz hash that spreads packets over queues
    #[arg(long, value_enum, default_value_t = RssKey::Default, value_name = "KEY")]
    pub rss_key: RssKey,
    /// Indirection table of RSS: queues, separated by commas [default: all in turn]
    #[arg(long, value_delimiter = ',', value_name = "QUEUE,...")]
    pub rss_table: Vec<u32>,
    /// Seed of the random numbers that programs see
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop after this many packets
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Where packets have their numbers from, on which random numbers depend
    #[arg(long, value_enum, default_value_t = PacketIds::Count, value_name = "SOURCE")]
    pub packet_ids: PacketIds,
    /// What programs see as the time (ns since boot) of the first packet [default: 1000 s]
    #[arg(long, value_name = "NS")]
    pub start_ns: Option<u64>,
    /// Only these packets, by their number from 0; the others keep their numbers
    #[arg(long, value_name = "FIRST-LAST")]
    pub packets_range: Option<PacketRange>,
}

/// What to do with frames that were cut when captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TruncatedPolicy {
    /// Use the captured bytes
    Captured,
    /// Pad with zeros to the original length
    Pad,
    /// Skip them
    Skip,
}

/// What to do with link types other than Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LinkPolicy {
    /// Refuse the capture
    Refuse,
    /// Skip such packets
    Skip,
    /// Make an Ethernet header for raw IP and cooked packets
    Adapt,
}

/// Key of the Toeplitz hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RssKey {
    /// The key that most drivers start with
    Default,
    /// Both directions of a flow to the same queue
    Symmetric,
}

/// Where packets have their numbers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PacketIds {
    /// Counted from 0 over all captures
    Count,
    /// From the captures, which iom wrote: they also order the packets
    Capture,
}

/// Packets by number, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRange(pub u64, pub u64);

impl FromStr for PacketRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |part: &str| {
            part.trim()
                .parse::<u64>()
                .map_err(|_| format!("`{part}` is not a packet number"))
        };
        let (first, last) = (
            number(first)?,
            if last.is_empty() {
                u64::MAX
            } else {
                number(last)?
            },
        );
        if first > last {
            return Err(format!("packet {first} comes after packet {last}"));
        }
        Ok(Self(first, last))
    }
}

impl ReplayArgs {
    /// Ports, queues and environment; `named` is how many ports the manifest names, `fib` the
    /// network that it names.
    pub fn setup(&self, named: usize, fib: Option<&Path>) -> anyhow::Result<Setup> {
        if let Some(queue) = self.rss_table.iter().find(|queue| **queue >= self.queues) {
            return Err(Failure::usage(format!(
                "--rss-table names queue {queue}, but there are {} (--queues)",
                self.queues
            )));
        }
        let ports = self
            .inputs
            .iter()
            .map(|input| u64::from(input.port) + 1)
            .max()
            .unwrap_or(1);
        let ports = ports
            .max(named as u64)
            .max(u64::from(self.ports.unwrap_or(1)));
        let ports = u32::try_from(ports).ok().filter(|ports| *ports <= 256);
        let ports = ports.ok_or_else(|| Failure::usage("ports are numbered from 0 to 255"))?;
        let start_ns = self.start_ns.unwrap_or(Environment::default().start_ns);
        let environment = Environment {
            seed: self.seed,
            start_ns,
        };
        Ok(Setup {
            ports,
            queues: self.queues,
            cpus: self.queues,
            environment,
            network: self.network(fib)?,
        })
    }

    /// The network of `--fib`, else that of the manifest.
    fn network(&self, named: Option<&Path>) -> anyhow::Result<Option<Arc<Network>>> {
        let Some(path) = self.fib.as_deref().or(named) else {
            return Ok(None);
        };
        let place = || format!("reading the FIB {}", path.display());
        let text = std::fs::read_to_string(path).with_context(place)?;
        let network: Network = if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            serde_json::from_str(&text).with_context(place)?
        } else {
            toml::from_str(&text).with_context(place)?
        };
        network.check().with_context(place)?;
        Ok(Some(Arc::new(network)))
    }

    /// Opens the captures.
    pub fn open(&self) -> anyhow::Result<MergedReader> {
        let policy = Policy {
            truncated: match self.truncated {
                TruncatedPolicy::Captured => Truncated::Captured,
                TruncatedPolicy::Pad => Truncated::Pad,
                TruncatedPolicy::Skip => Truncated::Skip,
            },
            other_links: match self.links {
                LinkPolicy::Refuse => OtherLinks::Refuse,
                LinkPolicy::Skip => OtherLinks::Skip,
                LinkPolicy::Adapt => OtherLinks::Adapt,
            },
        };
        let order = match (self.packet_ids, self.in_order) {
            (PacketIds::Count, false) => Order::ByTime,
            (PacketIds::Count, true) => Order::AsNamed,
            (PacketIds::Capture, false) => Order::ById,
            (PacketIds::Capture, true) => {
                return Err(Failure::usage(
                    "--packet-ids capture orders the packets: leave out --in-order",
                ));
            }
        };
        MergedReader::open(&self.inputs, policy, order).context("opening the captures")
    }

    /// Ingress for backends that take frames of these lengths.
    pub fn ingress(&self, setup: &Setup, frame_bytes: (usize, usize), pad_to: usize) -> Ingress {
        let key = match self.rss_key {
            RssKey::Default => &DEFAULT_KEY,
            RssKey::Symmetric => &SYMMETRIC_KEY,
        };
        let rss = if self.rss_table.is_empty() {
            Rss::new(key, self.queues)
        } else {
            Rss::with_table(key, self.rss_table.clone())
        };
        let PacketRange(first, last) = self.packets_range.unwrap_or(PacketRange(0, u64::MAX));
        Ingress::new(IngressConfig {
            rss,
            environment: setup.environment,
            numbers: match self.packet_ids {
                PacketIds::Count => PacketNumbers::Counted,
                PacketIds::Capture => PacketNumbers::Captured,
            },
            range: (first, last),
            limit: self.limit.unwrap_or(u64::MAX),
            pad_to,
            frame_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ranges_are_closed_or_open() {
        assert_eq!("3-5".parse(), Ok(PacketRange(3, 5)));
        assert_eq!("7".parse(), Ok(PacketRange(7, 7)));
        assert_eq!("7-".parse(), Ok(PacketRange(7, u64::MAX)));
        assert!("5-3".parse::<PacketRange>().is_err());
        assert!("x".parse::<PacketRange>().is_err());
    }
}
