//! One `BPF_PROG_TEST_RUN` for each packet. A packet without fragments goes in and comes out in
//! its frame's own memory; per packet there is one system call and no allocation.

use std::sync::PoisonError;

use iom_core::abi::{
    BackendError, FRAGMENT_BYTES, FRAME_BYTES, Fragment, Frame, HEADROOM_BYTES, LINEAR_MAX,
    Outcome, QueueId, Recorder, Redirect, SocketBuffer, Worker, XdpAction, effect,
};
use iom_core::module::ProgramType;

use super::instance::KernelInstance;
use super::load::{ProgramSet, failed};
use super::namespace::Pinned;
use super::perf::PerfRing;
use super::ring::Ring;
use super::syscall::{SkBuff, SyscallError, TestRunResult, XdpMd, test_run};
use super::{FRAME_BYTES as PACKET_BYTES, NAME};

/// Metadata that test-run takes at most (measured on 6.18).
const METADATA_MAX: usize = 216;
/// Where the linear part must end: the tailroom is the kernel's.
const LINEAR_END: usize = HEADROOM_BYTES + LINEAR_MAX;

/// Runs the packets of one queue on the thread that asks for it.
pub(super) struct KernelWorker<'a> {
    instance: &'a KernelInstance,
    set: &'a ProgramSet,
    queue: QueueId,
    gathered: Vec<u8>,
}

impl<'a> KernelWorker<'a> {
    pub(super) fn new(instance: &'a KernelInstance, set: &'a ProgramSet, queue: QueueId) -> Self {
        Self {
            instance,
            set,
            queue,
            gathered: Vec::new(),
        }
    }
}

impl Worker for KernelWorker<'_> {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        outcomes.clear();
        let cpu = self.instance.cpu_matters.then_some(self.queue.0);
        let _pinned = cpu.map(Pinned::to).transpose().map_err(failed)?;
        let _inside = self.instance.namespace.enter().map_err(failed)?;
        let place = (self.instance, self.set, self.queue);
        run_batch(place, &mut self.gathered, frames, outcomes, recorder)
    }
}

/// One batch of a queue.
struct BatchRun<'a> {
    instance: &'a KernelInstance,
    set: &'a ProgramSet,
    /// Metadata and packet in one piece, for packets with fragments and for programs with a socket
    /// buffer; empty until there is one.
    gathered: &'a mut Vec<u8>,
}

impl BatchRun<'_> {
    fn run_frame(
        &mut self,
        frame: &mut Frame,
        rings: &mut [Ring],
        perf: Option<&mut [PerfRing]>,
        recorder: Option<&mut Recorder>,
    ) -> Result<Outcome, BackendError> {
        if let Some(reason) = refusal(frame, self.set.program_type) {
            return Ok(Outcome {
                program_type: self.set.program_type,
                refused: Some(reason),
                ..Outcome::default()
            });
        }
        if let Some(environment) = &self.set.environment {
            environment.begin(&self.instance.environment, frame);
        }
        let program_type = self.set.program_type;
        let result = if program_type.has_socket_buffer() {
            self.run_socket_buffer(frame)
        } else if frame.fragments().is_empty() {
            run_linear(self.set, frame)
        } else {
            run_fragmented(self.set, frame, self.gathered)
        };
        let retval = result
            .map_err(|source| {
                failed(SyscallError {
                    action: format!("test-run packet {}", frame.packet_id),
                    source,
                })
            })?
            .retval;
        let mut events = recorder.map(|recorder| &mut recorder.events);
        if let Some(perf) = perf {
            self.instance
                .perf
                .drain(
                    perf,
                    self.set.environment.as_ref(),
                    frame.packet_id,
                    events.as_deref_mut(),
                )
                .map_err(|message| BackendError::Failed {
                    backend: NAME,
                    message: format!("packet {}: {message}", frame.packet_id),
                })?;
        }
        for ring in rings {
            ring.drain(frame.packet_id, events.as_deref_mut());
        }
        Ok(Outcome {
            program_type,
            retval,
            redirect: self.redirect(retval, frame.packet_id)?,
            ..Outcome::default()
        })
    }

    /// Runs a program with a socket buffer: the packet is handed over in one piece, and the buffer's
    /// other fields come back in the context.
    fn run_socket_buffer(&mut self, frame: &mut Frame) -> Result<TestRunResult, std::io::Error> {
        let mac = self.instance.network.mac(frame.receive.ingress_ifindex);
        frame.socket_buffer = SocketBuffer::received(frame, mac);
        let mut context = SkBuff {
            ingress_ifindex: frame.receive.ingress_ifindex,
            ifindex: frame.receive.ingress_ifindex,
            ..SkBuff::default()
        };
        let len = gather(frame, self.gathered);
        let result = test_run(&self.set.entry, self.gathered, len, &mut context)?;
        let buffer = &mut frame.socket_buffer;
        buffer.mark = context.mark;
        buffer.priority = context.priority;
        buffer.tstamp = context.tstamp;
        for (bytes, word) in buffer.cb.chunks_exact_mut(4).zip(context.cb) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // Socket filters change no packet, and theirs comes back without its Ethernet header.
        if self.set.program_type == ProgramType::SchedCls {
            frame
                .set_packet(&self.gathered[..result.len])
                .map_err(std::io::Error::other)?;
        }
        Ok(result)
    }

    fn redirect(&self, retval: u32, packet_id: u64) -> Result<Option<Redirect>, BackendError> {
        let program_type = self.set.program_type;
        match &self.set.environment {
            Some(environment)
                if self.set.redirects && effect(program_type, retval) == XdpAction::Redirect =>
            {
                self.instance
                    .targets
                    .standing(environment, program_type, retval)
                    .map_err(|message| BackendError::Failed {
                        backend: NAME,
                        message: format!("packet {packet_id}: {message}"),
                    })
            }
            _ => Ok(None),
        }
    }
}

/// Runs frames through the programs of a queue, on a thread that is in the instance's namespace and,
/// where that matters, on the queue's CPU.
pub(super) fn run_batch(
    (instance, set, queue): (&KernelInstance, &ProgramSet, QueueId),
    gathered: &mut Vec<u8>,
    frames: &mut [Frame],
    outcomes: &mut Vec<Outcome>,
    mut recorder: Option<&mut Recorder>,
) -> Result<(), BackendError> {
    let mut run = BatchRun {
        instance,
        set,
        gathered,
    };
    let mut rings = instance
        .rings
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut perf = instance
        .perf
        .of(queue)
        .map(|rings| rings.lock().unwrap_or_else(PoisonError::into_inner));
    for frame in frames {
        let perf = perf.as_mut().map(|rings| rings.as_mut_slice());
        let outcome = run.run_frame(frame, &mut rings, perf, recorder.as_deref_mut())?;
        outcomes.push(outcome);
    }
    Ok(())
}

/// Why test-run cannot take a frame.
fn refusal(frame: &Frame, program_type: ProgramType) -> Option<String> {
    let socket_buffer = program_type.has_socket_buffer();
    let (shortest, longest) = if socket_buffer {
        (PACKET_BYTES.0, LINEAR_MAX)
    } else {
        PACKET_BYTES
    };
    let len = frame.len();
    if !(shortest..=longest).contains(&len) {
        return Some(format!(
            "the kernel's test-run takes {shortest} to {longest} bytes, not {len}"
        ));
    }
    let metadata = frame.metadata().len();
    if socket_buffer && metadata > 0 {
        let reason = "the kernel's test-run takes no metadata in front of a socket buffer";
        return Some(reason.to_owned());
    }
    (metadata > METADATA_MAX || !metadata.is_multiple_of(4)).then(|| {
        format!(
            "the kernel's test-run takes metadata of a multiple of 4 up to {METADATA_MAX} bytes, not {metadata}"
        )
    })
}

/// The context before the run.
fn context(frame: &Frame) -> XdpMd {
    let metadata = frame.metadata().len();
    XdpMd {
        data: metadata as u32,
        data_end: (metadata + frame.linear().len()) as u32,
        ingress_ifindex: frame.receive.ingress_ifindex,
        rx_queue_index: frame.receive.queue,
        ..XdpMd::default()
    }
}

fn run_linear(set: &ProgramSet, frame: &mut Frame) -> Result<TestRunResult, std::io::Error> {
    let mut context = context(frame);
    let start = frame.data_meta();
    let len = context.data_end as usize;
    // The longest result, metadata and a grown packet, must fit behind `start`.
    if start + LINEAR_END > FRAME_BYTES {
        let target = HEADROOM_BYTES;
        frame.memory_mut().copy_within(start..start + len, target);
        return run_at(set, frame, target, len, &mut context);
    }
    run_at(set, frame, start, len, &mut context)
}

fn run_at(
    set: &ProgramSet,
    frame: &mut Frame,
    start: usize,
    len: usize,
    context: &mut XdpMd,
) -> Result<TestRunResult, std::io::Error> {
    let result = test_run(&set.entry, &mut frame.memory_mut()[start..], len, context)?;
    put_bounds(frame, start, result.len, context);
    Ok(result)
}

/// Sets the frame's borders to a result of `len` bytes that begins at `start`, moving it down if
/// it reaches into the tailroom.
fn put_bounds(frame: &mut Frame, start: usize, len: usize, context: &XdpMd) {
    let place = start.min(LINEAR_END.saturating_sub(len));
    if place != start {
        frame.memory_mut().copy_within(start..start + len, place);
    }
    frame.set_bounds(
        place,
        place + context.data as usize,
        place + context.data_end as usize,
    );
}

fn run_fragmented(
    set: &ProgramSet,
    frame: &mut Frame,
    gathered: &mut Vec<u8>,
) -> Result<TestRunResult, std::io::Error> {
    let mut context = context(frame);
    let len = gather(frame, gathered);
    let result = test_run(&set.entry, gathered, len, &mut context)?;
    let (linear, rest) = gathered[..result.len].split_at(context.data_end as usize);
    let start = HEADROOM_BYTES - linear.len().saturating_sub(LINEAR_MAX).min(HEADROOM_BYTES);
    frame.memory_mut()[start..start + linear.len()].copy_from_slice(linear);
    put_bounds(frame, start, linear.len(), &context);
    put_fragments(frame, rest);
    Ok(result)
}

/// Puts metadata and packet in one piece, with room for a packet that grows to the longest; what lies
/// there is never read.
fn gather(frame: &Frame, gathered: &mut Vec<u8>) -> usize {
    gathered.resize(FRAME_BYTES + PACKET_BYTES.1, 0);
    let mut len = 0;
    let fragments = frame.fragments().iter().map(Fragment::bytes);
    for part in [frame.metadata(), frame.linear()]
        .into_iter()
        .chain(fragments)
    {
        gathered[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    len
}

/// Puts the bytes behind the linear part back. Programs cut fragments and grow the last one, so
/// there are never more than before.
fn put_fragments(frame: &mut Frame, rest: &[u8]) {
    let fragments = frame.fragments_mut();
    let mut parts = rest.chunks(FRAGMENT_BYTES);
    fragments.retain_mut(|fragment| {
        let Some(part) = parts.next() else {
            return false;
        };
        fragment.set_len(part.len());
        fragment.bytes_mut().copy_from_slice(part);
        true
    });
}
