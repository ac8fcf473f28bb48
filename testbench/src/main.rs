//! `iom`: reads the command line, runs the command and turns what happened into an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use iom_testbench::args::Cli;
use iom_testbench::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let run = std::panic::catch_unwind(|| {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let result = iom_testbench::commands::run(cli, &mut out);
        let flushed = out.flush();
        result.and_then(|exit| flushed.map(|()| exit).map_err(Into::into))
    });
    match run {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            let exit = Exit::of(&error);
            // A reader that stops reading, as `head` does, is no error.
            if exit != Exit::Success {
                let _ = writeln!(io::stderr(), "iom: {error:#}");
            }
            exit.into()
        }
        // The panic's own message is on standard error already.
        Err(_) => Exit::Internal.into(),
    }
}
