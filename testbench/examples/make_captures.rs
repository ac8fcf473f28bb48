//! Writes the captures of `pcaps/`: `cargo run --example make_captures -- pcaps`.

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "pcaps".into()));
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in iom_testbench::traffic::captures() {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
