//! `--save-diff`: what repeats the first difference on another machine: every packet up to it, the
//! maps it started from, and the command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use iom_core::abi::Environment;
use iom_sim::capture::{Annotations, CaptureWriter, LinkType, Packet, port_name};
use iom_sim::replay::PacketBatch;

use crate::cross_check::Report;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::lane::Setup;
use crate::map_files;
use crate::program::LoadedProgram;
use crate::replay_args::{PacketRange, ReplayArgs};

/// Writes packets, map seeds and the command line of the first difference into a directory.
///
/// # Errors
/// Files that cannot be written; captures from standard input, which cannot be read twice.
pub fn save(
    dir: &Path,
    program: &LoadedProgram,
    replay: &ReplayArgs,
    seed_files: &[PathBuf],
    (engines, rewrite): (&[Engine], bool),
    report: &Report,
) -> anyhow::Result<()> {
    if replay.inputs.iter().any(|input| input.file == "-") {
        return Err(Failure::usage(
            "--save-diff reads the captures again: give a file instead of standard input",
        ));
    }
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let last = report
        .packet_differences
        .first()
        .map_or(u64::MAX, |difference| difference.packet.id);
    let ports = copy_packets(dir, replay, last)?;
    let seeds = map_files::Seeds::read(program, seed_files)?;
    fs::write(
        dir.join("maps.json"),
        seeds.to_json(&program.module, replay.queues)?,
    )?;
    let object = dir.join(program.path.file_name().unwrap_or_default());
    fs::copy(&program.path, &object)
        .with_context(|| format!("copying {}", program.path.display()))?;
    let mut command = command_line(dir, &object, program, replay, engines, &ports);
    if !rewrite {
        command += " --no-rewrite";
    }
    fs::write(dir.join("command.txt"), command + "\n")?;
    Ok(())
}

/// Copies the packets up to number `last` into one file for each port, and says which ports.
fn copy_packets(dir: &Path, replay: &ReplayArgs, last: u64) -> anyhow::Result<Vec<u32>> {
    let range = replay.packets_range.unwrap_or(PacketRange(0, u64::MAX));
    let whole = ReplayArgs {
        packets_range: Some(PacketRange(0, last.min(range.1))),
        ..replay.clone()
    };
    let setup = Setup {
        ports: 1,
        queues: replay.queues,
        cpus: replay.queues,
        environment: Environment::default(),
    };
    let mut ingress = whole.ingress(&setup, (0, usize::MAX), 0);
    let mut source = whole.open()?;
    let mut writer = CaptureWriter::create(&format!("{}/", dir.display()))?;
    let mut batch = PacketBatch::default();
    let mut ports = Vec::new();
    loop {
        let fault = ingress.fill(&mut source, &mut batch, 512).err();
        for packet in batch.packets() {
            let bytes = batch.bytes(packet);
            let annotations = Annotations {
                xdp_action: None,
                queue: Some(packet.queue.0),
                packet_id: Some(packet.id),
            };
            let copy = Packet {
                bytes,
                time_ns: packet.time_ns,
                original_len: bytes.len() as u32,
                interface: 0,
                link_type: LinkType::ETHERNET,
                annotations,
            };
            writer.write(&port_name(packet.port.0), &copy)?;
            if !ports.contains(&packet.port.0) {
                ports.push(packet.port.0);
            }
        }
        if fault.is_some() || batch.is_empty() {
            break;
        }
    }
    writer.finish()?;
    Ok(ports)
}

fn command_line(
    dir: &Path,
    object: &Path,
    program: &LoadedProgram,
    replay: &ReplayArgs,
    engines: &[Engine],
    ports: &[u32],
) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let name = &program.module.programs[program.entry].name;
    let mut words = vec![
        "iom check".to_owned(),
        quoted(object),
        format!("--program {name}"),
    ];
    for port in ports {
        words.push(format!(
            "-i {port}@{}",
            quoted(&dir.join(format!("{}.pcapng", port_name(*port))))
        ));
    }
    words.push(format!("--seed-maps {}", quoted(&dir.join("maps.json"))));
    let names: Vec<&str> = engines.iter().map(|engine| engine.backend_name()).collect();
    words.push(format!(
        "--backends {} --seed {} --queues {}",
        names.join(","),
        replay.seed,
        replay.queues
    ));
    words.push(format!(
        "--ports {}",
        program.ports.max(replay.ports.unwrap_or(1) as usize).max(1)
    ));
    if let Some(PacketRange(first, last)) = replay.packets_range {
        words.push(format!("--packets-range {first}-{last}"));
    }
    if replay.rss_key == crate::replay_args::RssKey::Symmetric {
        words.push("--rss-key symmetric".to_owned());
    }
    if !replay.rss_table.is_empty() {
        let table: Vec<String> = replay.rss_table.iter().map(ToString::to_string).collect();
        words.push(format!("--rss-table {}", table.join(",")));
    }
    words.join(" ")
}
