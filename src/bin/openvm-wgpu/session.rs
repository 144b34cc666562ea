//! What every command has: how it speaks, and what it was told about the device.

use std::{
    io::{self, IsTerminal, Write},
    panic::{catch_unwind, AssertUnwindSafe},
    sync::Mutex,
};

use clap::{builder::NonEmptyStringValueParser, Args};
use openvm_wgpu_backend::{Gpu, WgpuDeviceBuilder};
use serde_json::{json, Value};

use crate::{
    failure::{Failure, Kind, Result},
    support::record::parse_bytes,
};

/// Options of all commands.
#[derive(Args, Clone, Copy, Debug)]
pub struct Speech {
    /// Print one JSON object to standard output instead of text
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// Print errors alone
    #[arg(long, short, global = true, help_heading = "Output")]
    pub quiet: bool,
}

impl Speech {
    /// Prints what came of a command: text for people, or the object.
    pub fn result(&self, value: Value, text: &str) -> Result<()> {
        if self.json {
            print(format!("{value}\n").as_bytes())
        } else if !self.quiet && !text.is_empty() {
            print(format!("{}\n", text.trim_end()).as_bytes())
        } else {
            Ok(())
        }
    }

    /// Prints why a command ended.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let value = json!({ "ok": false, "code": failure.kind as u8, "error": failure.to_string() });
            let _ = writeln!(io::stdout(), "{value}");
        }
        let _ = writeln!(io::stderr(), "error: {failure}");
    }

    /// A line about what is being done.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Whether bars can be drawn.
    pub fn is_terminal(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }
}

/// Which device, and how much of it.
#[derive(Args, Clone, Debug, Default)]
pub struct DeviceArgs {
    /// The GPU to use: part of its name, `#` and its number, its PCI address or UUID; `doctor` lists them
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = "Device")]
    pub adapter: Option<String>,
    /// Most device memory to use, as in 4GiB
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT", help_heading = "Device")]
    pub memory_budget: Option<u64>,
}

impl DeviceArgs {
    /// A builder with these options.
    pub fn builder(&self) -> WgpuDeviceBuilder {
        let mut builder = WgpuDeviceBuilder::new();
        if let Some(name) = &self.adapter {
            builder = builder.adapter(name);
        }
        match self.memory_budget {
            Some(bytes) => builder.memory_budget(bytes),
            None => builder,
        }
    }

    /// Opens the device and makes it the default.
    pub fn open(&self, kernel_times: bool) -> Result<Gpu> {
        Ok(self.builder().kernel_times(kernel_times).set_default()?)
    }
}

/// To standard output; a reader that has left is no reason to fail.
pub fn print(text: &[u8]) -> Result<()> {
    let mut out = io::stdout();
    printed(out.write_all(text).and_then(|()| out.flush()))
}

/// What came of printing.
pub fn printed(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot print to standard output", &error))
        }
        _ => Ok(()),
    }
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps the text of a panic for [`caught`], in place of printing it; `RUST_BACKTRACE` prints it all the same.
pub fn keep_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        *LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = panic.to_string();
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            print(panic);
        }
    }));
}

/// A panic of `work` as a failure: of upstream's code on input that it did not expect, or a bug.
pub fn caught<T>(kind: Kind, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let text = LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        // upstream's code unwraps what the device reports
        let memory = ["OutOfBudget", "OutOfMemory", "BufferTooLarge"].iter().any(|name| text.contains(name));
        Err(match memory {
            true => Failure::new(Kind::Device, format!("{what}: {text}; give a larger --memory-budget")),
            false => Failure::new(kind, format!("{what}: {text}")),
        })
    })
}
