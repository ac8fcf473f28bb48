//! The stable JSON form of a packet's result (`--packets`): one line for each packet and backend.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use iom_core::abi::{Event, Frame, Outcome, Redirect, ShownSocketBuffer, TcAction};
use iom_core::hex::encode as hex;
use iom_core::module::{Module, ProgramType};
use iom_sim::device::{DropReason, Verdict};
use iom_sim::redirect::Delivery;
use iom_sim::replay::Ingressed;
use serde::Serialize;

use crate::compare::PacketView;

/// One line of `--packets`.
#[derive(Debug, Serialize)]
struct PacketRecord<'a> {
    packet: u64,
    backend: &'a str,
    time_ns: u64,
    port: u32,
    queue: u32,
    retval: u32,
    action: &'static str,
    redirect: Option<RedirectRecord<'a>>,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    metadata: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_buffer: Option<SocketBufferRecord>,
    events: Vec<String>,
    drop_reason: Option<&'a str>,
    /// Where it went, if a broadcast or a program behind a map entry had a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryRecord>>,
}

/// Where a packet, or one of its copies, went.
#[derive(Debug, Serialize)]
struct DeliveryRecord {
    to: &'static str,
    target: Option<u32>,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    drop_reason: Option<&'static str>,
}

impl DeliveryRecord {
    fn new(delivery: &Delivery, left: &Frame, with_bytes: bool) -> Self {
        let frame = delivery.frame.as_deref().unwrap_or(left);
        let (to, target) = match delivery.verdict {
            Verdict::Drop(_) => ("drop", None),
            Verdict::Host => ("host", None),
            Verdict::Transmit(port) => ("port", Some(port.0)),
            Verdict::Cpu(cpu) => ("cpu", Some(cpu)),
            Verdict::Socket(queue) => ("socket", Some(queue)),
        };
        Self {
            to,
            target,
            length: frame.len(),
            bytes: with_bytes.then(|| hex(&frame.packet())),
            drop_reason: delivery.verdict.drop_reason().map(DropReason::text),
        }
    }
}

/// What the device made of a packet, and the events of the programs that ran there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered<'a> {
    /// Where it went; nothing where only programs are compared.
    pub deliveries: &'a [Delivery],
    /// Events of programs behind map entries.
    pub events: &'a [Event],
}

/// A socket buffer in JSON, as far as all backends show it.
#[derive(Debug, Serialize)]
pub struct SocketBufferRecord {
    mark: u32,
    priority: u32,
    cb: String,
    tstamp: u64,
}

impl SocketBufferRecord {
    /// The socket buffer of a packet that a program of this type saw, if it saw one.
    pub fn new(program_type: ProgramType, shown: &ShownSocketBuffer) -> Option<Self> {
        program_type.has_socket_buffer().then(|| Self {
            mark: shown.mark,
            priority: shown.priority,
            cb: hex(&shown.cb),
            tstamp: shown.tstamp,
        })
    }
}

/// A redirect target in JSON.
#[derive(Debug, Serialize)]
pub struct RedirectRecord<'a> {
    kind: &'static str,
    map: Option<&'a str>,
    key: Option<u32>,
    target: Option<u32>,
    flags: u64,
}

impl<'a> RedirectRecord<'a> {
    /// The target, with its map's name.
    pub fn new(redirect: Redirect, module: &'a Module) -> Self {
        let map = redirect
            .map
            .and_then(|index| module.maps.get(index as usize));
        Self {
            kind: redirect.kind.name(),
            map: map.map(|spec| spec.name.as_str()),
            key: redirect.key,
            target: redirect.target,
            flags: redirect.flags,
        }
    }
}

/// Writes packet results, one JSON line each.
pub struct PacketWriter<'a> {
    out: Box<dyn Write + 'a>,
    with_bytes: bool,
}

impl<'a> PacketWriter<'a> {
    /// Writes to `out`, with the packet bytes if asked for.
    pub fn new(out: Box<dyn Write + 'a>, with_bytes: bool) -> Self {
        Self { out, with_bytes }
    }

    /// Writes into a file.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, with_bytes: bool) -> anyhow::Result<PacketWriter<'static>> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(PacketWriter::new(
            Box::new(BufWriter::new(file)),
            with_bytes,
        ))
    }

    /// Writes what one backend made of one packet.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(
        &mut self,
        module: &Module,
        backend: &str,
        packet: &Ingressed,
        view: &PacketView<'_>,
        delivered: &Delivered<'_>,
    ) -> io::Result<()> {
        let deliveries = delivered.deliveries;
        let verdict = deliveries.first().map_or_else(
            || Verdict::of(packet.port, view.outcome),
            |first| first.verdict,
        );
        let plain = matches!(deliveries, [] | [Delivery { frame: None, .. }]);
        let events = view.events.iter().chain(delivered.events);
        let trap = view
            .outcome
            .trap
            .as_ref()
            .map(std::string::ToString::to_string);
        let refused = view.outcome.refused.as_deref();
        let record = PacketRecord {
            packet: packet.id,
            backend,
            time_ns: packet.time_ns,
            port: packet.port.0,
            queue: packet.queue.0,
            retval: view.outcome.retval,
            action: view.outcome.action_name(),
            redirect: view
                .outcome
                .redirect
                .map(|redirect| RedirectRecord::new(redirect, module)),
            length: view.frame.len(),
            bytes: self.with_bytes.then(|| hex(&view.frame.packet())),
            metadata: hex(view.frame.metadata()),
            socket_buffer: SocketBufferRecord::new(
                view.outcome.program_type,
                &view.frame.socket_buffer.shown(),
            ),
            events: events.map(|event| hex(&event.bytes)).collect(),
            drop_reason: trap
                .as_deref()
                .or(refused)
                .or(verdict.drop_reason().map(DropReason::text)),
            deliveries: (!plain).then(|| {
                let records = deliveries.iter();
                let record = |delivery| DeliveryRecord::new(delivery, view.frame, self.with_bytes);
                records.map(record).collect()
            }),
        };
        serde_json::to_writer(&mut self.out, &record)?;
        self.out.write_all(b"\n")
    }

    /// Flushes the output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Action and return value as text: `pass`, or `aborted (77)` where the value is not the action's own.
pub fn action_text(outcome: &Outcome) -> String {
    let (name, retval) = (outcome.action_name(), outcome.retval);
    let plain = match outcome.program_type {
        ProgramType::Xdp | ProgramType::Raw => retval <= 4,
        ProgramType::SchedCls => TcAction::from_retval(retval) != TcAction::Unspec,
        ProgramType::SocketFilter => retval == 0,
    };
    if plain {
        name.to_owned()
    } else {
        format!("{name} ({})", retval as i32)
    }
}
