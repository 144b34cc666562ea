//! `completions` and `man`: made from the options themselves.

use std::io;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::{
    failure::{Failure, Result},
    session::{self, Speech},
    Cli,
};

/// Options of `completions`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::COMPLETIONS)]
pub struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

pub fn completions(args: &CompletionArgs, speech: Speech) -> Result<()> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "openvm-wgpu", &mut text);
    print("completions", &text, speech)
}

/// The page of the program, and those of its commands behind it.
pub fn man(speech: Speech) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut text = vec![];
    pages(&command, &mut text).map_err(|error| Failure::io("cannot make the manual page", &error))?;
    print("man", &text, speech)
}

fn print(command: &str, text: &[u8], speech: Speech) -> Result<()> {
    if speech.json {
        return speech.result(json!({ "ok": true, "command": command, "text": String::from_utf8_lossy(text) }), "");
    }
    session::print(text)
}

fn pages(command: &Command, out: &mut impl io::Write) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(out)?;
    command.get_subcommands().filter(|command| command.get_name() != "help").try_for_each(|command| pages(command, out))
}
