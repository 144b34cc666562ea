//! clang++ and the cache of what it compiled.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        atomic::{AtomicU32, Ordering},
        OnceLock,
    },
};

use sha2::{Digest, Sha256};

use crate::{price, Error, Mode};

const CLANG: &str = "clang++";

/// The headers that stand in for Metal's, by path.
const SHIM: &[(&str, &str)] = &[
    ("metal_stdlib", include_str!("../../shim/metal_stdlib")),
    ("runtime.h", include_str!("../../shim/runtime.h")),
    ("simd/simd.h", include_str!("../../shim/simd/simd.h")),
    ("metal/array.h", include_str!("../../shim/metal/array.h")),
    ("metal/atomic.h", include_str!("../../shim/metal/atomic.h")),
    ("metal/group.h", include_str!("../../shim/metal/group.h")),
    ("metal/integer.h", include_str!("../../shim/metal/integer.h")),
    ("metal/price.h", include_str!("../../shim/metal/price.h")),
    ("metal/sanitizer.h", include_str!("../../shim/metal/sanitizer.h")),
    ("metal/vector.h", include_str!("../../shim/metal/vector.h")),
];

/// A precompiled header would save 0.05 s of the 0.2 to 1 s that a kernel takes to compile, for a file that has to fit the compiler.
const FLAGS: &[&str] = &["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-w"];
/// naga's text counts on casts between types, and on integers that wrap.
const SEMANTICS: &[&str] = &["-fno-strict-aliasing", "-fwrapv"];
/// Code of -O2 runs three times as fast as that of -O1. Inlining more, and looking for vectors in scalar code, makes it no faster, but
/// compiles 2,400 straight lines in 14 s rather than 0.6 s.
const FAST: &[&str] = &["-O2", "-fno-slp-vectorize", "-mllvm", "-inline-threshold=10"];
/// The accesses that are left after optimization are reported, except for those of the shim, which reports them itself.
const CHECK: &[&str] = &[
    "-O1",
    "-mllvm",
    "-inline-threshold=10",
    "-gline-tables-only",
    "-DMETAL_CHECK",
    "-fsanitize=thread,integer-divide-by-zero,shift-exponent",
    "-mllvm",
    "-tsan-instrument-atomics=0",
    "-mllvm",
    "-tsan-instrument-func-entry-exit=0",
];
/// Everything that is not one instruction of the GPU is inlined, and every basic block is marked after optimization.
const PRICE: &[&str] = &[
    "-O2",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-DMETAL_PRICE",
    "-mllvm",
    "-inline-threshold=1000000",
    "-fsanitize-coverage=trace-pc-guard,no-prune",
];
/// What becomes of the marks.
const PRICES: &str = concat!(include_str!("../price/blocks.rs"), include_str!("../price/instruction.rs"));
/// Else clang would call libgcc for atomics.
#[cfg(all(target_arch = "aarch64", not(target_os = "macos")))]
const TARGET: &[&str] = &["-mno-outline-atomics"];
#[cfg(not(all(target_arch = "aarch64", not(target_os = "macos"))))]
const TARGET: &[&str] = &[];
/// Against no library, which takes a thirtieth of the time. There is no sanitizer's runtime either: `shim/metal/sanitizer.h` is it.
#[cfg(not(target_os = "macos"))]
const LINK: &[&str] = &["-shared", "-nostdlib"];
#[cfg(target_os = "macos")]
const LINK: &[&str] = &["-dynamiclib"];

/// The compiler with the shim, in a directory of the cache that is theirs alone.
pub struct Compiler {
    directory: PathBuf,
}

impl Compiler {
    /// clang++ as it is found on the first call.
    pub fn get() -> Result<&'static Self, Error> {
        static COMPILER: OnceLock<Compiler> = OnceLock::new();
        if let Some(compiler) = COMPILER.get() {
            return Ok(compiler);
        }
        let found = Self::find(CLANG)?;
        Ok(COMPILER.get_or_init(|| found))
    }

    fn find(clang: &str) -> Result<Self, Error> {
        if cfg!(not(unix)) {
            return Err(Error::NoCompiler("kernels run on Linux and macOS only".into()));
        }
        let output =
            Command::new(clang).arg("--version").output().map_err(|error| Error::NoCompiler(error.to_string()))?;
        if !output.status.success() {
            return Err(Error::NoCompiler(message(&output)));
        }
        let headers = SHIM.iter().map(|(path, text)| (*path, (*text).to_owned()));
        let headers: Vec<_> = headers.chain([("swizzles.h", swizzles())]).collect();
        let flags = [FLAGS, SEMANTICS, TARGET, FAST, CHECK, PRICE, LINK].concat().join(" ");
        let texts = headers.iter().flat_map(|(path, text)| [path.as_bytes(), text.as_bytes()]);
        let version: [&[u8]; 3] = [&output.stdout, flags.as_bytes(), PRICES.as_bytes()];
        let directory = cache_directory().join(digest(version.into_iter().chain(texts)));
        for (path, text) in &headers {
            write(&directory.join("shim").join(path), text.as_bytes())?;
        }
        Ok(Self { directory })
    }

    /// The shared object of a C++ text, compiled unless it was before.
    pub fn shared_object(&self, kernel: &str, cpp: &str, mode: Mode) -> Result<PathBuf, Error> {
        let mode_flags = match mode {
            Mode::Fast => FAST,
            Mode::Check => CHECK,
            Mode::Price => PRICE,
        };
        let name = digest([cpp.as_bytes(), mode_flags.concat().as_bytes()]);
        let library = self.directory.join(format!("{name}.so"));
        if library.exists() {
            return Ok(library);
        }
        let source = library.with_extension("cpp");
        write(&source, cpp.as_bytes())?;
        // debuggers on macOS look for the object, so it stays
        let object = library.with_extension("o");
        let include = format!("-I{}", self.directory.join("shim").display());
        let compile = |form: &[&str], out: &Path| {
            let mut clang = Command::new(CLANG);
            clang.args(FLAGS).args(SEMANTICS).args(TARGET).args(mode_flags).arg(&include);
            clang.args(form).arg(&source).arg("-o").arg(out);
            clang
        };
        match mode {
            Mode::Fast | Mode::Check => produce(kernel, &object, |out| compile(&["-c"], out))?,
            Mode::Price => {
                let marked = library.with_extension("marked.ll");
                produce(kernel, &marked, |out| compile(&["-S", "-emit-llvm"], out))?;
                price_object(kernel, &marked, &object)?;
            }
        }
        produce(kernel, &library, |out| {
            let mut clang = Command::new(CLANG);
            clang.args(LINK).arg(&object).arg("-o").arg(out);
            clang
        })?;
        Ok(library)
    }
}

/// The object of LLVM IR whose marks are replaced by prices.
fn price_object(kernel: &str, marked: &Path, object: &Path) -> Result<(), Error> {
    let text = at(marked, fs::read_to_string(marked))?;
    let failed = |message| Error::Compilation { kernel: kernel.to_owned(), message };
    let priced = object.with_extension("priced.ll");
    write(&priced, price::price_blocks(&text).map_err(failed)?.as_bytes())?;
    produce(kernel, object, |out| {
        let mut clang = Command::new(CLANG);
        clang.args(["-fPIC", "-w", "-O1", "-c"]).args(TARGET).arg(&priced).arg("-o").arg(out);
        clang
    })
}

/// Runs a command that writes a file, under another name until it is complete.
fn produce(kernel: &str, target: &Path, command: impl FnOnce(&Path) -> Command) -> Result<(), Error> {
    let temporary = temporary(target);
    let output = command(&temporary).output().map_err(|error| Error::NoCompiler(error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Compilation { kernel: kernel.to_owned(), message: message(&output) });
    }
    at(target, fs::rename(&temporary, target))
}

/// Writes a file, under another name until it is complete.
fn write(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    if target.exists() {
        return Ok(());
    }
    let directory = target.parent().expect("a file of the cache");
    at(directory, fs::create_dir_all(directory))?;
    let temporary = temporary(target);
    at(&temporary, fs::write(&temporary, bytes))?;
    at(target, fs::rename(&temporary, target))
}

/// A name beside the target that no other thread or process takes.
fn temporary(target: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    target.with_extension(format!("{}.{number}.tmp", std::process::id()))
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Cache { path: path.to_owned(), source })
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().take(20).collect::<Vec<_>>().join("\n")
}

/// `$METAL_ON_CPU_CACHE`, or `metal-on-cpu` in the user's cache directory.
fn cache_directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("METAL_ON_CPU_CACHE").unwrap_or_else(|| {
        let user = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        user.unwrap_or_else(std::env::temp_dir).join("metal-on-cpu")
    })
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `METAL_SWIZZLES_N`: members for all choices of 2 to 4 of N components.
fn swizzles() -> String {
    let define = |n: usize| {
        let members = (2..=4).flat_map(|len| (0..n.pow(len)).map(move |choice| swizzle(n, len as usize, choice)));
        format!("#define METAL_SWIZZLES_{n} {}\n", members.collect::<String>())
    };
    (2..=4).map(define).collect()
}

/// The member whose components are the digits of `choice` to the base `n`.
fn swizzle(n: usize, len: usize, mut choice: usize) -> String {
    let mut digit = || {
        let digit = choice % n;
        choice /= n;
        digit
    };
    let digits: Vec<_> = (0..len).map(|_| digit()).collect();
    let places: String = digits.iter().map(|i| format!(", {i}")).collect();
    let name: String = digits.iter().map(|i| ["x", "y", "z", "w"][*i]).collect();
    format!("swizzle<vec<T, {len}>, {n}{places}> {name}; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_install_is_named() {
        let error = Compiler::find("no-such-clang++").err().expect("there is no such compiler").to_string();
        assert!(error.contains("apt-get install clang") && error.contains("xcode-select"), "{error}");
    }

    #[test]
    fn swizzles_name_their_components() {
        assert_eq!(swizzle(4, 3, 1 + 4 * 2 + 16 * 3), "swizzle<vec<T, 3>, 4, 1, 2, 3> yzw; ");
        assert_eq!(swizzles().matches("> ").count(), 28 + 117 + 336);
    }
}
