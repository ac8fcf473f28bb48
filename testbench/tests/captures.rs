//! The committed captures are what the generator makes.

use std::path::Path;

#[test]
fn committed_captures_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    for (name, bytes) in iom_testbench::traffic::captures() {
        let committed = std::fs::read(folder.join(name)).unwrap_or_default();
        assert!(
            committed == bytes,
            "pcaps/{name} differs: run `cargo run --example make_captures -- pcaps`"
        );
    }
}
