//! The same frames through the interpreter and the simulated device: what leaves each port, and
//! what reaches the host of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_core::abi::{
    Backend, Environment, Frame, Instance, LoadRequest, Outcome, PortId, QueueId, Receive, Recorder,
};
use iom_core::map::MapSet;
use iom_core::module::Module;
use iom_sim::device::Verdict;
use iom_sim::redirect::{Deliverer, RedirectMaps};

/// Frames at each far end, then frames that the stack of each port gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) far: Vec<Vec<Vec<u8>>>,
    pub(crate) host: Vec<Vec<Vec<u8>>>,
}

impl Seen {
    /// All frames, in an order that does not depend on the way they came.
    pub(crate) fn sorted(mut self) -> Self {
        self.far.iter_mut().for_each(|frames| frames.sort());
        self.host.iter_mut().for_each(|frames| frames.sort());
        self
    }

    pub(crate) fn count(&self) -> usize {
        self.far.iter().chain(&self.host).map(Vec::len).sum()
    }
}

/// What a module makes of frames on ports, in their order.
pub(crate) fn simulate(module: &Arc<Module>, ports: u32, sent: &[(u32, Vec<u8>)]) -> Seen {
    let maps = MapSet::create(&module.maps, 1).expect("the maps are created");
    let redirects = RedirectMaps::of(&maps);
    let load = |entry| load(module, entry, &maps, ports);
    let behind: BTreeMap<_, _> = redirects
        .programs()
        .into_iter()
        .map(|entry| (entry, load(entry)))
        .collect();
    let main = load(0);
    let mut deliverer = Deliverer::new(&redirects, &behind).expect("workers");
    let mut seen = Seen {
        far: vec![Vec::new(); ports as usize],
        host: vec![Vec::new(); ports as usize],
    };
    for (id, (port, bytes)) in (0..).zip(sent) {
        let mut frame = Frame::new();
        frame.set_packet(bytes).expect("the packet fits");
        frame.packet_id = id;
        frame.receive = Receive {
            ingress_ifindex: PortId(*port).ifindex(),
            ..Receive::default()
        };
        let outcome = run(&*main, &mut frame);
        let deliveries =
            deliverer.deliver(PortId(*port), &outcome, &frame, &mut Recorder::default());
        for delivery in deliveries.expect("the programs behind run") {
            let packet = delivery.frame.as_deref().unwrap_or(&frame).packet();
            match delivery.verdict {
                Verdict::Transmit(target) => seen.far[target.0 as usize].push(packet),
                Verdict::Host | Verdict::Cpu(_) => seen.host[*port as usize].push(packet),
                Verdict::Drop(_) | Verdict::Socket(_) => {}
            }
        }
    }
    seen
}

fn load(module: &Arc<Module>, entry: usize, maps: &MapSet, ports: u32) -> Box<dyn Instance> {
    let request = LoadRequest {
        module,
        entry,
        maps,
        environment: Environment::default(),
        network: iom_core::abi::Network::empty(),
        ports,
        queues: 1,
    };
    let loaded = Interpreter::default().load(&request);
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

fn run(instance: &dyn Instance, frame: &mut Frame) -> Outcome {
    let mut outcomes = Vec::new();
    let mut worker = instance.worker(QueueId(0)).expect("a worker");
    let frames = std::slice::from_mut(frame);
    worker.run(frames, &mut outcomes, None).expect("it runs");
    outcomes.swap_remove(0)
}
