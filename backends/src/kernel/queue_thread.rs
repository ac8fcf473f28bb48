//! A thread for each RX queue, which stays on the queue's CPU and in the namespace: moving a thread
//! from CPU to CPU at each change of queue costs a hundred times as much as handing frames over.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use iom_core::abi::{BackendError, Frame, Outcome, QueueId, Recorder, Worker};

use super::NAME;
use super::instance::KernelInstance;
use super::load::failed;
use super::namespace::Pinned;
use super::test_run::run_batch;

/// What goes to the thread and comes back.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    /// How many of the frames are to run.
    count: usize,
    outcomes: Vec<Outcome>,
    /// Events of these frames, if somebody looks.
    recorder: Option<Recorder>,
    failure: Option<BackendError>,
}

/// The worker of one queue: frames are swapped into a batch of its own and back.
pub(super) struct QueueThread {
    requests: Option<Sender<Batch>>,
    results: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
    /// Kept, so that frames are made once.
    batch: Option<Batch>,
}

impl QueueThread {
    /// Starts the thread.
    pub(super) fn start(instance: Arc<KernelInstance>, queue: QueueId) -> Self {
        let (requests, incoming) = channel();
        let (outgoing, results) = channel();
        let thread = std::thread::spawn(move || serve(&instance, queue, &incoming, &outgoing));
        Self {
            requests: Some(requests),
            results,
            thread: Some(thread),
            batch: None,
        }
    }

    /// Hands a batch to the thread and waits for it.
    fn exchange(&mut self, batch: Batch) -> Batch {
        let requests = self.requests.as_ref();
        let sent = requests.is_some_and(|requests| requests.send(batch).is_ok());
        let result = sent.then(|| self.results.recv().ok()).flatten();
        result.unwrap_or_else(|| {
            // The thread only ends by itself when it panics.
            let ended = self.thread.take().map(JoinHandle::join);
            match ended {
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                _ => unreachable!("the thread of an RX queue ended without a panic"),
            }
        })
    }
}

impl Drop for QueueThread {
    fn drop(&mut self) {
        // Without a sender the thread ends.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Worker for QueueThread {
    fn run(
        &mut self,
        frames: &mut [Frame],
        outcomes: &mut Vec<Outcome>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        let mut batch = self.batch.take().unwrap_or_default();
        batch.count = frames.len();
        if batch.frames.len() < frames.len() {
            batch.frames.resize_with(frames.len(), Frame::new);
        }
        batch.frames[..frames.len()].swap_with_slice(frames);
        batch.recorder = recorder.is_some().then(Recorder::default);
        let mut batch = self.exchange(batch);
        batch.frames[..frames.len()].swap_with_slice(frames);
        outcomes.clear();
        outcomes.append(&mut batch.outcomes);
        if let (Some(into), Some(from)) = (recorder, &mut batch.recorder) {
            into.events.append(&mut from.events);
            into.printk.append(&mut from.printk);
        }
        let failure = batch.failure.take();
        self.batch = Some(batch);
        failure.map_or(Ok(()), Err)
    }
}

/// Runs batches until there is nobody who sends them.
fn serve(
    instance: &KernelInstance,
    queue: QueueId,
    incoming: &Receiver<Batch>,
    outgoing: &Sender<Batch>,
) {
    let place = Pinned::to(queue.0)
        .and_then(|pinned| Ok((pinned, instance.namespace.enter()?)))
        .map_err(failed);
    let set = instance.set(queue);
    let mut gathered = Vec::new();
    while let Ok(mut batch) = incoming.recv() {
        batch.outcomes.clear();
        let result = match (&place, &set) {
            (Ok(_), Ok(set)) => run_batch(
                (instance, set, queue),
                &mut gathered,
                &mut batch.frames[..batch.count],
                &mut batch.outcomes,
                batch.recorder.as_mut(),
            ),
            (Err(error), _) | (_, Err(error)) => Err(BackendError::Failed {
                backend: NAME,
                message: error.to_string(),
            }),
        };
        batch.failure = result.err();
        if outgoing.send(batch).is_err() {
            return;
        }
    }
}
