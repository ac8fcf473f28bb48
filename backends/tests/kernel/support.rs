//! What the tests on the running kernel share: skipping where there is none, loading assembly,
//! running packets.

use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::{KernelBackend, KernelConfig};
use iom_core::abi::{
    Backend, BackendError, Environment, Frame, Instance, LoadRequest, Network, Outcome, QueueId,
    Receive, Recorder,
};
use iom_core::isa::assemble;
use iom_core::map::{MapContents, MapSet, MapValue};
use iom_core::module::Module;

/// Whether the kernel can be used here. Where it cannot, the reason is printed once, and with
/// `IOM_REQUIRE_KERNEL=1` that is a failure.
pub(crate) fn kernel_is_here() -> bool {
    static PRINTED: std::sync::Once = std::sync::Once::new();
    let Err(error) = KernelBackend::probe() else {
        return true;
    };
    let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {error}");
    PRINTED.call_once(|| eprintln!("skipped: {error}"));
    false
}

/// Seed and time of all runs.
pub(crate) const ENVIRONMENT: Environment = Environment {
    seed: 42,
    start_ns: 1_000_000_000_000,
};

/// A module from assembly, with the types that Linux wants of functions that helpers call.
pub(crate) fn module(text: &str) -> Arc<Module> {
    let mut module = assemble(text, "test.bpf").unwrap_or_else(|error| panic!("{error}\n{text}"));
    if text.contains(" = func ") {
        let functions = &mut module.programs[0].functions;
        for (type_id, function) in (3..).zip(functions.iter_mut()) {
            function.btf_id = Some(type_id);
        }
        module.btf = Some(function_types(functions.len()));
    }
    Arc::new(module)
}

/// BTF with an `int` (1), a function type (2) and so many static functions behind it.
fn function_types(functions: usize) -> Vec<u8> {
    const FUNC: u32 = 12 << 24;
    const FUNC_PROTO: u32 = 13 << 24;
    let mut types = vec![0, FUNC_PROTO, 1];
    for _ in 0..functions {
        types.extend([5, FUNC, 2]);
    }
    btf(&types, b"\0int\0function\0")
}

/// BTF with an `int` (1) and `struct { struct bpf_spin_lock (2); int; }` (3).
pub(crate) fn lock_types() -> Vec<u8> {
    const STRUCT: u32 = 4 << 24;
    let members = [
        [5, STRUCT | 1, 4],
        [19, 1, 0],
        [0, STRUCT | 2, 8],
        [19, 2, 0],
        [23, 1, 32],
    ];
    btf(&members.concat(), b"\0int\0bpf_spin_lock\0val\0count\0")
}

/// BTF with an `int`, whose name is at 1, as the first type and these behind it.
fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
    const INT: u32 = 1 << 24;
    // Name, kind, size and bits.
    let types = [&[1, INT, 4, 32], types].concat();
    let types_len = 4 * types.len() as u32;
    let lengths = [24, 0, types_len, types_len, strings.len() as u32];
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    [
        &[0x9f, 0xeb, 1, 0],
        &words(&lengths)[..],
        &words(&types),
        strings,
    ]
    .concat()
}

/// Loads a module's first program with two ports and as many queues.
pub(crate) fn load(
    backend: &dyn Backend,
    module: &Arc<Module>,
    queues: u32,
) -> Result<Box<dyn Instance>, BackendError> {
    load_in(backend, module, queues, Network::empty())
}

/// The same, with a network behind the ports.
pub(crate) fn load_in(
    backend: &dyn Backend,
    module: &Arc<Module>,
    queues: u32,
    network: &Network,
) -> Result<Box<dyn Instance>, BackendError> {
    let maps = MapSet::create(&module.maps, queues).expect("the maps are created");
    backend.load(&LoadRequest {
        module,
        entry: 0,
        maps: &maps,
        environment: ENVIRONMENT,
        network,
        ports: 2,
        queues,
    })
}

/// A frame on port 0, queue 0.
pub(crate) fn frame(packet_id: u64, packet: &[u8]) -> Frame {
    let mut frame = Frame::new();
    frame.set_packet(packet).expect("the packet fits");
    frame.packet_id = packet_id;
    frame.ktime_ns = ENVIRONMENT.start_ns + 1_000 * packet_id;
    frame.receive = Receive {
        ingress_ifindex: 2,
        ..Receive::default()
    };
    frame
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) frames: Vec<Frame>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) recorder: Recorder,
    pub(crate) maps: Vec<MapContents>,
}

/// Runs frames through queue 0 of a module from assembly, on the kernel. The interpreter leaves the
/// same behind.
pub(crate) fn run(text: &str, frames: Vec<Frame>) -> Run {
    let module = module(text);
    let interpreter = run_module(&Interpreter::default(), &module, frames.clone());
    let kernel = run_module(&KernelBackend::default(), &module, frames);
    assert_same(text, &interpreter, &kernel, &module);
    kernel
}

/// The same with a network behind the ports.
pub(crate) fn run_in(network: &Network, text: &str, frames: Vec<Frame>) -> Run {
    let module = module(text);
    let interpreter = run_module_in(&Interpreter::default(), &module, frames.clone(), network);
    let kernel = run_module_in(&KernelBackend::default(), &module, frames, network);
    assert_same(text, &interpreter, &kernel, &module);
    kernel
}

/// Runs frames through queue 0 of a module.
pub(crate) fn run_module(backend: &dyn Backend, module: &Arc<Module>, frames: Vec<Frame>) -> Run {
    run_module_in(backend, module, frames, Network::empty())
}

pub(crate) fn run_module_in(
    backend: &dyn Backend,
    module: &Arc<Module>,
    mut frames: Vec<Frame>,
    network: &Network,
) -> Run {
    let instance = load_in(backend, module, 1, network).unwrap_or_else(|error| panic!("{error:?}"));
    let mut outcomes = Vec::new();
    let mut recorder = Recorder::default();
    let mut worker = instance.worker(QueueId(0)).expect("a worker");
    worker
        .run(&mut frames, &mut outcomes, Some(&mut recorder))
        .expect("the packets run");
    drop(worker);
    Run {
        frames,
        outcomes,
        recorder,
        maps: instance.maps().expect("the maps are dumped"),
    }
}

/// The kernel as it is, without the rewrite.
pub(crate) const PLAIN: KernelBackend = KernelBackend {
    config: KernelConfig { rewrite: false },
};

/// An entry of a map that is no per-CPU map.
pub(crate) fn plain(contents: &MapContents, key: &[u8]) -> Option<Vec<u8>> {
    contents.entries.iter().find_map(|entry| {
        let MapValue::Plain(value) = &entry.value else {
            return None;
        };
        (entry.key == key).then(|| value.clone())
    })
}

/// Bytes from hex digits.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    iom_core::hex::decode(hex).expect("hex")
}

/// All that packets leave behind is the same; what one backend refused is not compared.
pub(crate) fn assert_same(name: &str, one: &Run, other: &Run, module: &Module) {
    assert_eq!(one.outcomes.len(), other.outcomes.len());
    let outcomes = one.outcomes.iter().zip(&other.outcomes);
    let frames = one.frames.iter().zip(&other.frames);
    for (packet, (outcomes, frames)) in outcomes.zip(frames).enumerate() {
        if outcomes.0.refused.is_some() || outcomes.1.refused.is_some() {
            continue;
        }
        assert_eq!(outcomes.0, outcomes.1, "{name}: packet {packet}");
        let bytes = |frame: &Frame| (frame.metadata().to_vec(), frame.packet());
        let (left, right) = (bytes(frames.0), bytes(frames.1));
        assert!(
            left == right,
            "{name}: packet {packet}\n{left:02x?}\n{right:02x?}"
        );
        let shown = |frame: &Frame| frame.socket_buffer.shown();
        assert_eq!(
            shown(frames.0),
            shown(frames.1),
            "{name}: packet {packet}: socket buffer"
        );
    }
    assert_eq!(one.recorder.events, other.recorder.events, "{name}: events");
    for (index, spec) in module.maps.iter().enumerate() {
        assert_eq!(
            one.maps[index], other.maps[index],
            "{name}: map {}",
            spec.name
        );
    }
}
