//! Files of a fleet: ELF, configuration, input, plan and proofs, each named by its SHA-256, in a folder, in S3 or in memory.
//!
//! A blob is written once and checked whenever it is read; one that is damaged is removed, so that it can be written again. Beside them lies,
//! for each task that is done, the name of its result: who is to do a task again finds it there.

use std::{
    fmt,
    str::FromStr,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
};

use object_store::{aws::AmazonS3Builder, local::LocalFileSystem, memory::InMemory, path::Path, prefix::PrefixStore};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

/// The SHA-256 of a blob's bytes, which is its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobName([u8; 32]);

impl BlobName {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BlobName> for String {
    fn from(name: BlobName) -> Self {
        name.to_string()
    }
}

impl FromStr for BlobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no SHA-256 in hexadecimal");
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for BlobName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The store's URL is none, or names a store that is not supported.
    #[error("{url}: {reason}; name a folder, s3://BUCKET/PREFIX?region=.., or memory:///")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong about it.
        reason: String,
    },
    /// There is none of this name.
    #[error("there is no blob {0}")]
    Missing(BlobName),
    /// Its bytes are not those it is named by; it was removed.
    #[error("blob {0} is damaged")]
    Damaged(BlobName),
    /// The store failed.
    #[error("the store of blobs: {0}")]
    Store(#[from] object_store::Error),
}

/// Bytes that went through a store's handle and its clones.
#[derive(Debug, Default)]
pub struct BlobTraffic {
    /// Read from the store.
    pub read: AtomicU64,
    /// Written into it.
    pub written: AtomicU64,
}

/// A store of blobs; clones share it.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    traffic: Arc<BlobTraffic>,
}

impl Blobs {
    /// Opens a store: a folder (`/path` or `file:///path`, which is made where it is not there), `s3://bucket/prefix`, or `memory:///`, which
    /// lasts as long as the handle.
    ///
    /// Options of S3 follow the URL (`s3://bucket/prefix?region=eu-1&endpoint=https://..`), by object_store's names; what is not there comes from
    /// `AWS_ACCESS_KEY_ID` and the like in the environment. Keep secrets in the environment: a URL shows in lists of processes.
    ///
    /// # Errors
    ///
    /// [`BlobError::Url`]; [`BlobError::Store`] if a folder cannot be made.
    pub fn open(url: &str) -> Result<Self, BlobError> {
        let wrong = |reason: String| BlobError::Url { url: url.to_owned(), reason };
        let store: Arc<dyn ObjectStore> = match Url::parse(url) {
            Ok(parsed) if parsed.scheme() == "s3" => s3(&parsed).map_err(|error| wrong(error.to_string()))?,
            Ok(parsed) if parsed.scheme() == "memory" => Arc::new(InMemory::new()),
            Ok(parsed) if parsed.scheme() == "file" => {
                folder(&parsed.to_file_path().map_err(|()| wrong("no path of this machine".into()))?)?
            }
            Ok(parsed) => return Err(wrong(format!("there are no stores of the kind `{}`", parsed.scheme()))),
            Err(_) if !url.is_empty() => folder(std::path::Path::new(url))?,
            Err(error) => return Err(wrong(error.to_string())),
        };
        Ok(Self { store, traffic: Arc::default() })
    }

    /// What went through.
    pub fn traffic(&self) -> &Arc<BlobTraffic> {
        &self.traffic
    }

    /// Writes a blob unless it is there.
    ///
    /// # Errors
    ///
    /// [`BlobError::Store`].
    pub async fn put(&self, bytes: Vec<u8>) -> Result<BlobName, BlobError> {
        let name = BlobName::of(&bytes);
        let length = bytes.len() as u64;
        if self.create(&blob_path(name), bytes).await? {
            self.traffic.written.fetch_add(length, Ordering::Relaxed);
        }
        Ok(name)
    }

    /// Reads a blob and checks it.
    ///
    /// # Errors
    ///
    /// [`BlobError::Missing`]; [`BlobError::Damaged`], after which it is missing; [`BlobError::Store`].
    pub async fn get(&self, name: BlobName) -> Result<Vec<u8>, BlobError> {
        let path = blob_path(name);
        let bytes = self.read(&path).await?.ok_or(BlobError::Missing(name))?;
        self.traffic.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if BlobName::of(&bytes) != name {
            self.delete(&path).await?;
            return Err(BlobError::Damaged(name));
        }
        Ok(bytes)
    }

    /// Notes the result of the task `key`, and returns the one that counts: the first.
    ///
    /// # Errors
    ///
    /// [`BlobError::Store`].
    pub async fn note(&self, key: &str, result: BlobName) -> Result<BlobName, BlobError> {
        loop {
            if self.create(&note_path(key), result.to_string().into_bytes()).await? {
                return Ok(result);
            }
            if let Some(first) = self.noted(key).await? {
                return Ok(first);
            }
        }
    }

    /// The result that was noted for the task `key`. Whether it is there still, [`Blobs::get`] says.
    ///
    /// # Errors
    ///
    /// [`BlobError::Store`].
    pub async fn noted(&self, key: &str) -> Result<Option<BlobName>, BlobError> {
        let path = note_path(key);
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        match std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()) {
            Some(name) => Ok(Some(name)),
            // half of a note is none
            None => self.delete(&path).await.map(|()| None),
        }
    }

    /// Forgets the result of the task `key`, of which it was found out that it is of no use.
    ///
    /// # Errors
    ///
    /// [`BlobError::Store`].
    pub async fn forget(&self, key: &str) -> Result<(), BlobError> {
        self.delete(&note_path(key)).await
    }

    /// Writes what is not there; whether it was not.
    async fn create(&self, path: &Path, bytes: Vec<u8>) -> Result<bool, BlobError> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, BlobError> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, path: &Path) -> Result<(), BlobError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn folder(path: &std::path::Path) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let failed = |source| object_store::Error::Generic { store: "folder", source: Box::new(source) };
    std::fs::create_dir_all(path).map_err(failed)?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(path)?))
}

fn s3(url: &Url) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    // reqwest takes the process' default; who has set another one keeps it
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut bare = url.clone();
    bare.set_query(None);
    let mut builder = AmazonS3Builder::from_env().with_url(bare.to_string());
    for (key, value) in url.query_pairs() {
        builder = builder.with_config(key.parse()?, value);
    }
    Ok(Arc::new(PrefixStore::new(builder.build()?, Path::from_url_path(url.path())?)))
}

fn blob_path(name: BlobName) -> Path {
    let name = name.to_string();
    Path::from_iter(["blobs", &name[..2], &name])
}

fn note_path(key: &str) -> Path {
    let name = BlobName::of(key.as_bytes()).to_string();
    Path::from_iter(["results", &name[..2], &name])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl std::future::Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("openvm-wgpu-blobs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    async fn keeps_what_it_is_given(blobs: Blobs) -> Result<(), BlobError> {
        let name = blobs.put(b"proof".to_vec()).await?;
        assert_eq!((blobs.put(b"proof".to_vec()).await?, blobs.get(name).await?), (name, b"proof".to_vec()));
        assert_eq!(blobs.traffic().written.load(Ordering::Relaxed), 5);
        let other = BlobName::of(b"another");
        assert!(matches!(blobs.get(other).await, Err(BlobError::Missing(missing)) if missing == other));
        // the first result of a task counts
        assert_eq!(blobs.noted("segment/0/0/ab").await?, None);
        assert_eq!(blobs.note("segment/0/0/ab", name).await?, name);
        assert_eq!(blobs.note("segment/0/0/ab", other).await?, name);
        assert_eq!(blobs.noted("segment/0/0/ab").await?, Some(name));
        blobs.forget("segment/0/0/ab").await?;
        blobs.forget("segment/0/0/ab").await?;
        assert_eq!(blobs.note("segment/0/0/ab", other).await?, other);
        Ok(())
    }

    #[test]
    fn stores_keep_what_they_are_given() {
        wait(keeps_what_it_is_given(Blobs::open("memory:///").unwrap())).unwrap();
        let path = scratch("kept");
        wait(keeps_what_it_is_given(Blobs::open(path.to_str().unwrap()).unwrap())).unwrap();
        let again = Blobs::open(Url::from_directory_path(&path).unwrap().as_str()).unwrap();
        assert_eq!(wait(again.get(BlobName::of(b"proof"))).unwrap(), b"proof");
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_is_damaged_is_found_and_can_be_written_again() {
        let path = scratch("damaged");
        let blobs = Blobs::open(path.to_str().unwrap()).unwrap();
        let name = wait(blobs.put(vec![7; 1000])).unwrap();
        let file = path.join(blob_path(name).as_ref());
        for damaged in [vec![7; 999], [vec![7; 500], vec![6], vec![7; 499]].concat(), vec![]] {
            std::fs::write(&file, damaged).unwrap();
            assert!(matches!(wait(blobs.get(name)), Err(BlobError::Damaged(_))));
            assert!(matches!(wait(blobs.get(name)), Err(BlobError::Missing(_))));
            assert_eq!(wait(blobs.put(vec![7; 1000])).unwrap(), name);
            assert_eq!(wait(blobs.get(name)).unwrap(), [7; 1000]);
        }
        wait(blobs.note("key", name)).unwrap();
        std::fs::write(path.join(note_path("key").as_ref()), "12ab").unwrap();
        assert_eq!(wait(blobs.noted("key")).unwrap(), None);
        assert_eq!(wait(blobs.note("key", name)).unwrap(), name);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn many_writers_agree_on_the_first() {
        let path = scratch("many");
        let text = path.to_str().unwrap();
        let write = |writer: u8| {
            let blobs = Blobs::open(text).unwrap();
            wait(async { blobs.note("key", blobs.put(vec![writer; 100]).await?).await }).unwrap()
        };
        let names: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert!(names.iter().all(|name| *name == names[0]));
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn names_and_urls_are_checked() {
        let name = BlobName::of(b"");
        assert_eq!(name.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(serde_json::from_str::<BlobName>(&serde_json::to_string(&name).unwrap()).unwrap(), name);
        for wrong in ["", "e3", "../../etc/passwd", &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<BlobName>().is_err(), "{wrong}");
        }
        for wrong in ["", "gs://bucket", "https://example.com", "s3://bucket?no-such-option=1"] {
            assert!(matches!(Blobs::open(wrong), Err(BlobError::Url { .. })), "{wrong}");
        }
        assert!(Blobs::open("s3://bucket/a/b?region=eu-1&endpoint=http://127.0.0.1:9&allow_http=true").is_ok());
    }
}
