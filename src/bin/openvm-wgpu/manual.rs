//! `completions` and `man`: made from the options themselves.

use std::io;

use clap::{Args, Command, CommandFactory};
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

/// The page of the program, and those of its commands behind it.
pub fn man() -> Result<()> {
    let failed = |error: io::Error| Failure::io("cannot print the manual page", &error);
    let mut command = Cli::command();
    command.build();
    pages(&command, &mut io::stdout()).map_err(failed)
}

fn pages(command: &Command, out: &mut impl io::Write) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(out)?;
    command.get_subcommands().filter(|command| command.get_name() != "help").try_for_each(|command| pages(command, out))
}
