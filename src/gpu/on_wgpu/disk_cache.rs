//! Compiled pipelines on disk, for the next process.
//!
//! What lies in a user's folders is not trusted: a file that is damaged, of something else, or no file at all costs the time of a new
//! compilation and one line in the log.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex,
    },
    time::{Duration, SystemTime},
};

use crate::gpu::{adapter::AdapterSummary, environment};

/// The driver's cache with the file that it is kept in.
pub(in super::super) struct DiskCache {
    pub(super) cache: wgpu::PipelineCache,
    file: CacheFile,
    /// Something was compiled since the file was written, or the file is bad.
    changed: AtomicBool,
}

impl DiskCache {
    /// The cache file of this adapter and driver, below `folder` or where the user's caches are; `None` where there is no such place.
    pub(in super::super) fn open(
        device: &wgpu::Device,
        adapter: &AdapterSummary,
        folder: Option<&Path>,
    ) -> Option<Self> {
        let folder =
            folder.map(Path::to_owned).or_else(|| Some(environment::cache_home()?.join("openvm-wgpu-backend")))?;
        let file = CacheFile { path: folder.join(format!("{}.bin", adapter.cache_key())), key: adapter.cache_key() };
        let read = file.read().and_then(|data| match data {
            Some(data) => create(device, Some(&data)).map(Some),
            None => Ok(None),
        });
        let (found, bad) = match read {
            Ok(found) => (found, false),
            Err(reason) => {
                say_once(&file.path, &format!("the pipeline cache is not used, kernels are compiled anew: {reason}"));
                (None, true)
            }
        };
        let cache = found.or_else(|| create(device, None).ok())?;
        Some(Self { cache, file, changed: AtomicBool::new(bad) })
    }

    /// Something was compiled.
    pub(super) fn changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Writes the file if something has changed. A failure only costs time later.
    pub(super) fn store(&self) {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let Some(data) = self.cache.get_data() else { return };
        if let Err(error) = self.file.write(&data) {
            say_once(&self.file.path, &format!("the pipeline cache is not stored: {error}"));
        }
    }
}

/// Makes the driver's cache of what a file held.
fn create(device: &wgpu::Device, data: Option<&[u8]>) -> Result<wgpu::PipelineCache, String> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the data was written by `store` from `PipelineCache::get_data`, under the same adapter, driver and version, as its checked
    // header says; wgpu and the driver check headers of their own.
    let cache = unsafe {
        device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
            label: Some("openvm-wgpu-backend"),
            data,
            fallback: true,
        })
    };
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(crate::error::with_causes(&error)),
        None => Ok(cache),
    }
}

/// Logs what is wrong about a file, once a process.
fn say_once(path: &Path, what: &str) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(|p| p.into_inner()).insert(path.to_owned()) {
        tracing::warn!(path = %path.display(), "{what}");
    }
}

/// The format of files; another one is not read.
const MAGIC: &[u8; 12] = b"OVM-WGPU-PC\x01";

/// Magic, length of the key, length of the payload, checksum of both.
const HEADER_BYTES: usize = MAGIC.len() + 3 * 8;

/// No adapter's pipelines take a tenth of that.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Temporary files that are older were left by a process that was killed.
const TEMPORARY: Duration = Duration::from_secs(3600);

/// A file that holds data under a key.
struct CacheFile {
    path: PathBuf,
    key: String,
}

impl CacheFile {
    /// What was written; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// Why the file is of no use.
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        // not of links, nor of what would block or never end
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if !metadata.is_file() {
            return Err("not a regular file".into());
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(format!("{} bytes are too many", metadata.len()));
        }
        let bytes = fs::read(&self.path).map_err(|error| error.to_string())?;
        payload(&bytes, &self.key).map(|data| Some(data.to_vec()))
    }

    /// Writes beside the final name first, so that a reader never sees half of it; leaves nothing there when it fails.
    fn write(&self, data: &[u8]) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("not a regular file")),
            _ => {}
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        sweep(folder);
        let temporary = self.temporary_path();
        // a new one, lest a link or a pipe of this name is written to
        let mut file = File::create_new(&temporary)?;
        let written = file
            .write_all(&header(&self.key, data))
            .and_then(|()| file.write_all(data))
            .and_then(|()| fs::rename(&temporary, &self.path));
        written.inspect_err(|_| _ = fs::remove_file(&temporary))
    }

    /// Two devices of a process may store at once, as two processes may, which in containers can have the same number.
    fn temporary_path(&self) -> PathBuf {
        static STORED: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), STORED.fetch_add(1, Ordering::Relaxed));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        self.path.with_extension(format!("{process}-{number}-{now}.tmp"))
    }
}

/// Removes what processes left that were killed while they wrote.
fn sweep(folder: &Path) {
    let old = |entry: &fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        let age = metadata.modified().ok()?.elapsed().ok()?;
        Some(metadata.is_file() && age > TEMPORARY)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let temporary = entry.path().extension().is_some_and(|extension| extension == "tmp");
        if temporary && old(&entry) == Some(true) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn header(key: &str, payload: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    for number in [key.len() as u64, payload.len() as u64, checksum(key, payload)] {
        header.extend(number.to_le_bytes());
    }
    header.extend(key.as_bytes());
    header
}

fn checksum(key: &str, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.write(payload);
    hasher.finish()
}

/// What a file holds.
fn payload<'a>(file: &'a [u8], key: &str) -> Result<&'a [u8], String> {
    let (header, rest) = file.split_at_checked(HEADER_BYTES).ok_or("its header is cut off")?;
    let (magic, numbers) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("another file format".into());
    }
    let number = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| numbers[8 * i + byte]));
    if number(0) != key.len() as u64 || !rest.starts_with(key.as_bytes()) {
        return Err("written for another adapter, driver or version".into());
    }
    let payload = &rest[key.len()..];
    if number(1) != payload.len() as u64 {
        return Err(format!("{} bytes expected, {} found", number(1), payload.len()));
    }
    if number(2) != checksum(key, payload) {
        return Err("its checksum is wrong".into());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;
