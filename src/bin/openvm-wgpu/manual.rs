//! `completions` and `man`: made from the options themselves.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{
    failure::{Failure, Result},
    Cli,
};

/// Options of `completions`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

pub fn completions(args: &CompletionArgs) -> Result<()> {
    clap_complete::generate(args.shell, &mut Cli::command(), "openvm-wgpu", &mut io::stdout());
    Ok(())
}

/// The page of the program, and one of each command behind it.
pub fn man() -> Result<()> {
    let failed = |error: io::Error| Failure::io("cannot print the manual page", &error);
    let mut command = Cli::command();
    command.build();
    let mut out = io::stdout();
    clap_mangen::Man::new(command.clone()).render(&mut out).map_err(failed)?;
    for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
        clap_mangen::Man::new(subcommand.clone()).render(&mut out).map_err(failed)?;
    }
    Ok(())
}
