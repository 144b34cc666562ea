//! Reading and writing upstream's files, with errors that say what to do.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use openvm_circuit::arch::instructions::exe::VmExe;
use openvm_sdk::{
    config::AppConfig,
    fs::{read_object_from_file, write_object_to_file},
    types::ExecutableFormat,
    StdIn, F,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::p3_field::{PrimeCharacteristicRing, PrimeField32};
use openvm_stark_sdk::config::{app_params_with_100_bits_security, MAX_APP_LOG_STACKED_HEIGHT};
use openvm_wgpu_backend::openvm::decode_elf;
use serde::{de::DeserializeOwned, Serialize};
use serde_json::Value;

use crate::{
    failure::{Failure, Kind, Result},
    session::caught,
};

/// A key, a proof or a program in upstream's binary form. `what` it is; `advice` says how to get one.
pub fn read_object<T: DeserializeOwned>(path: &Path, what: &str, advice: &str) -> Result<T> {
    readable(path, what, advice)?;
    let none = |reason: String| {
        Failure::usage(format!(
            "{} is no {what} of OpenVM 2.0, or only a part of one ({reason}); {advice}",
            path.display()
        ))
    };
    caught(Kind::Usage, &format!("{} is no {what}", path.display()), || {
        read_object_from_file(path).map_err(|error| none(last_line(&error)))
    })
}

/// The same in JSON. Upstream's reader asks the system for each byte, and its writer hands over each word; the form is the same.
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str, advice: &str) -> Result<T> {
    readable(path, what, advice)?;
    let bytes = fs::read(path).map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    serde_json::from_slice(&bytes).map_err(|reason| {
        Failure::usage(format!("{} is no {what}, or only a part of one ({reason}); {advice}", path.display()))
    })
}

pub fn write_object(path: &Path, object: &impl Serialize) -> Result<()> {
    whole(path, |path| write_object_to_file(path, object))
}

pub fn write_json(path: &Path, object: &impl Serialize) -> Result<()> {
    whole(path, |path| Ok(fs::write(path, serde_json::to_vec_pretty(object)?)?))
}

pub fn write_text(path: &Path, text: &str) -> Result<()> {
    whole(path, |path| Ok(fs::write(path, text)?))
}

/// Writes beside the file and puts it in its place, so that nobody finds half of one.
fn whole(path: &Path, write: impl FnOnce(&Path) -> eyre::Result<()>) -> Result<()> {
    let failed = |reason: String| Failure::usage(format!("cannot write {}: {reason}", path.display()));
    if is_no_file(path) {
        return write(path).map_err(|error| failed(last_line(&error)));
    }
    make_folder_of(path)?;
    // a link stays one
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let beside = &beside(&place);
    let written = write(beside).map_err(|error| last_line(&error));
    written.and_then(|()| fs::rename(beside, &place).map_err(|error| error.to_string())).map_err(|reason| {
        // half a file is of no use, least of all on a full disk
        let _ = fs::remove_file(beside);
        failed(reason)
    })
}

/// The name under which a file is written.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// A pipe or a device, as /dev/stdout: nothing may be put in its place.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Failure::io(format!("cannot make {}", folder.display()), &error))
}

/// That a file can be written, before hours of work: its folder is there or can be made.
pub fn writable(path: &Path) -> Result<()> {
    make_folder_of(path)?;
    if path.is_dir() {
        return Err(Failure::usage(format!("cannot write {}: it is a folder", path.display())));
    }
    if is_no_file(path) {
        return Ok(());
    }
    let probe = beside(&fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()));
    fs::File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error))
}

fn readable(path: &Path, what: &str, advice: &str) -> Result<()> {
    match fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::usage(format!("{} is a folder, no {what}; {advice}", path.display())))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::usage(format!("no {what} at {}; {advice}", path.display())))
        }
        Err(error) => Err(Failure::io(format!("cannot read the {what} {}", path.display()), &error)),
    }
}

fn last_line(error: &eyre::Report) -> String {
    error.to_string().lines().last().unwrap_or_default().trim().to_owned()
}

/// The VM of an openvm.toml; upstream's default where there is none and none was named.
pub fn read_config(named: Option<&Path>, default: &Path) -> Result<(AppConfig<SdkVmConfig>, bool)> {
    let path = named.unwrap_or(default);
    if named.is_none() && !path.exists() {
        return Ok((default_config(), false));
    }
    readable(path, "VM configuration", "name one with --config")?;
    let text =
        fs::read_to_string(path).map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    let config = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        Failure::usage(format!("{}, line {line}: {}; see docs/cli.md for an example", path.display(), error.message()))
    })?;
    Ok((config, true))
}

/// As upstream's `cargo openvm`: RV32IM with input and output.
pub fn default_config() -> AppConfig<SdkVmConfig> {
    AppConfig::new(SdkVmConfig::riscv32(), app_params_with_100_bits_security(MAX_APP_LOG_STACKED_HEIGHT))
}

/// A guest: upstream's program, or the ELF that it is made of.
pub fn read_guest(path: &Path) -> Result<ExecutableFormat> {
    let advice = "build the guest with `cargo openvm build`, or name one with --exe";
    readable(path, "guest", advice)?;
    let mut magic = [0; 4];
    let file = fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut magic));
    file.map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    if magic == *b"\x7fELF" {
        let bytes = fs::read(path).map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
        let elf = decode_elf(&bytes)
            .map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}; {advice}", path.display())))?;
        return Ok(elf.into());
    }
    let exe: VmExe<F> = read_object(path, "guest (program of OpenVM or ELF)", advice)?;
    Ok(Arc::new(exe).into())
}

/// What the guest reads, in upstream's form: a string of hexadecimal digits, or a JSON file with an array of such under `input`. Bytes
/// follow `01`, field elements of four bytes `02`.
pub fn read_input(input: Option<&str>) -> Result<StdIn> {
    let mut stdin = StdIn::default();
    let Some(input) = input else { return Ok(stdin) };
    let path = Path::new(input);
    if let Ok(bytes) = decode_hex(input) {
        match push_input(&mut stdin, &bytes) {
            Ok(()) => return Ok(stdin),
            // `cafe` may be a file
            Err(reason) if !path.exists() => return Err(Failure::usage(format!("--input {input}: {reason}"))),
            Err(_) => {}
        }
    }
    let form =
        "give hexadecimal digits (01 and bytes, or 02 and field elements) or a JSON file {\"input\": [\"01..\"]}";
    if !path.exists() {
        return Err(Failure::usage(format!("--input {input} is neither hexadecimal digits nor a file; {form}")));
    }
    let value: Value = read_json(path, "JSON input", form)?;
    let items = value.get("input").and_then(Value::as_array);
    let items = items.ok_or_else(|| Failure::usage(format!("{input} has no array `input`; {form}")))?;
    for (index, item) in items.iter().enumerate() {
        let failed = |reason: String| Failure::usage(format!("{input}, item {index}: {reason}; {form}"));
        let text = item.as_str().ok_or_else(|| failed("no string".into()))?;
        push_input(&mut stdin, &decode_hex(text).map_err(failed)?).map_err(failed)?;
    }
    Ok(stdin)
}

fn decode_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!("`{text}` is no even number of hexadecimal digits"));
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|error| error.to_string());
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn push_input(stdin: &mut StdIn, bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [1, bytes @ ..] => stdin.write_bytes(bytes),
        [2, words @ ..] if words.len().is_multiple_of(4) => {
            let word = |word: &[u8]| F::from_u32(u32::from_le_bytes(word.try_into().expect("four bytes")));
            stdin.write_field(&words.chunks(4).map(word).collect::<Vec<_>>());
        }
        [2, ..] => return Err("behind 02, elements have four bytes each".into()),
        _ => return Err("the first byte must be 01 (bytes) or 02 (field elements)".into()),
    }
    Ok(())
}

/// Field elements that stand for bytes.
pub fn bytes_of(values: &[F]) -> Vec<u8> {
    values.iter().map(|value| value.as_canonical_u32() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_upstreams() {
        let stdin = read_input(Some("0x010a0b")).unwrap();
        assert_eq!(stdin.buffer, [vec![F::from_u8(10), F::from_u8(11)]]);
        let stdin = read_input(Some("0201000000ff000000")).unwrap();
        assert_eq!(stdin.buffer, [vec![F::ONE, F::from_u8(255)]]);
        for wrong in ["02010000", "03aa", "not-a-file", "01a"] {
            assert_eq!(read_input(Some(wrong)).map(|_| ()).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
    }
}
