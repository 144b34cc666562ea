//! Files of every kind in the cache's place.

use std::sync::Arc;

use super::*;
use crate::gpu::{
    testing::{self, Folder},
    Gpu, GpuOptions,
};

const KEY: &str = "vulkan-card-driver";

fn cache_file(folder: &Folder) -> CacheFile {
    CacheFile { path: folder.path().join("cache.bin"), key: KEY.into() }
}

/// Names of what lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let folder = Folder::new("cache-read");
    let file = cache_file(&folder);
    assert_eq!(file.read(), Ok(None));
    for data in [vec![], vec![7], vec![1, 2, 3]] {
        file.write(&data).unwrap();
        assert_eq!(file.read(), Ok(Some(data)));
    }
    assert_eq!(names(folder.path()), ["cache.bin"]);
}

/// Every byte counts, and so does every length.
#[test]
fn damage_is_found() {
    let data: Vec<u8> = (0..100).collect();
    let good: Vec<u8> = header(KEY, &data).into_iter().chain(data.clone()).collect();
    assert_eq!(payload(&good, KEY), Ok(&data[..]));
    for position in 0..good.len() {
        for flip in [1, 0x80, good[position]] {
            let mut bad = good.clone();
            bad[position] ^= flip;
            assert!(flip == 0 || payload(&bad, KEY).is_err(), "byte {position}");
        }
        assert!(payload(&good[..position], KEY).is_err(), "{position} bytes");
    }
    assert!(payload(&[&good[..], &[0]].concat(), KEY).is_err());
    assert!(payload(&good, "vulkan-card-other").is_err());
    assert!(payload(&good, "").is_err());
    assert!(payload(&[u8::MAX; 4096], KEY).is_err());
}

#[test]
fn any_file_has_an_answer() {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"));
    let good = [header(KEY, b"what the driver keeps"), b"what the driver keeps".to_vec()].concat();
    openvm_wgpu_testing::fuzz::bytes(corpus, "pipeline_cache", &[&good], 20_000, |file| {
        if let Ok(data) = payload(file, KEY) {
            assert_eq!([&header(KEY, data), data].concat(), file);
        }
    });
}

#[test]
fn nothing_is_left_when_the_file_cannot_be_replaced() {
    let folder = Folder::new("cache-litter");
    let file = cache_file(&folder);
    fs::create_dir(&file.path).unwrap();
    assert!(file.write(&[1]).is_err());
    assert!(file.read().unwrap_err().contains("not a regular file"));
    assert_eq!(names(folder.path()), ["cache.bin"]);
    // where the folder should be, there is a file
    let file = CacheFile { path: folder.path().join("file/cache.bin"), key: KEY.into() };
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(file.write(&[1]).is_err());
    assert_eq!(names(folder.path()), ["cache.bin", "file"]);
}

#[test]
fn old_temporary_files_are_swept() {
    let folder = Folder::new("cache-sweep");
    let age = |name: &str, age: Duration| {
        let path = folder.path().join(name);
        fs::write(&path, "x").unwrap();
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    };
    age("other.1-0.tmp", 2 * TEMPORARY);
    age("other.2-0.tmp", TEMPORARY / 2);
    age("other.bin", 2 * TEMPORARY);
    cache_file(&folder).write(&[1]).unwrap();
    assert_eq!(names(folder.path()), ["cache.bin", "other.2-0.tmp", "other.bin"]);
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read_and_replaced() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let folder = Folder::new("cache-odd");
    let file = cache_file(&folder);
    let odd = |make: &dyn Fn(&Path)| {
        make(&file.path);
        let before = fs::symlink_metadata(&file.path).unwrap().file_type();
        assert!(file.read().unwrap_err().contains("not a regular file"));
        assert!(file.write(&[1]).is_err());
        assert_eq!(fs::symlink_metadata(&file.path).unwrap().file_type(), before);
        fs::remove_file(&file.path).unwrap();
    };
    let fifo = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    odd(&fifo);
    odd(&|path| symlink("/dev/zero", path).unwrap());
    odd(&|path| symlink("/does/not/exist", path).unwrap());
    odd(&|path| _ = UnixListener::bind(path).unwrap());
    // a hole of 2 TiB
    File::create(&file.path).unwrap().set_len(1 << 41).unwrap();
    assert!(file.read().unwrap_err().contains("too many"));
    file.write(&[1]).unwrap();
    assert_eq!(file.read(), Ok(Some(vec![1])));
    assert_eq!(names(folder.path()), ["cache.bin"]);
}

// ---- on a device ----

/// What is logged while `f` runs.
fn logged(f: impl FnOnce()) -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let log = log.clone();
        move || Log(log.clone())
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, f);
    let log = log.lock().unwrap().clone();
    String::from_utf8(log).unwrap()
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a kernel on a device of its own with the cache in `folder`, and stores it.
fn run_kernel(folder: &Folder) {
    let options = GpuOptions { cache_folder: Some(folder.path().into()), ..GpuOptions::default() };
    let gpu = Gpu::new(&options).unwrap();
    gpu.synchronize().unwrap();
    gpu.store_pipelines();
}

#[test]
fn bad_caches_are_replaced() {
    if testing::on_machine() || !testing::gpu().capabilities().pipeline_cache {
        return;
    }
    let folder = Folder::new("cache-device");
    run_kernel(&folder);
    let [name] = &names(folder.path())[..] else { panic!("one file for the adapter") };
    let path = folder.path().join(name);
    let good = fs::read(&path).unwrap();
    let key = name.strip_suffix(".bin").unwrap();
    let data = payload(&good, key).unwrap().to_vec();
    // within wgpu's header, of which its fallback does not apply to the adapter's bytes, in the driver's data, and outside
    let wrapped = |data: &[u8]| [header(key, data), data.to_vec()].concat();
    let changed = |position: usize| {
        let mut data = data.clone();
        data[position] ^= 0x55;
        data
    };
    let mut bad: Vec<Vec<u8>> =
        (0..64.min(data.len())).step_by(7).map(|position| wrapped(&changed(position))).collect();
    bad.extend([vec![], good[..good.len() / 2].to_vec(), data.clone(), wrapped(&[]), vec![0; 1000]]);
    bad.push([&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat());
    let mut said = 0;
    for bad in bad {
        fs::write(&path, &bad).unwrap();
        let log = logged(|| run_kernel(&folder));
        said += log.matches(path.to_str().unwrap()).count();
        // what wgpu does not mind, the driver may
        let stored = fs::read(&path).unwrap();
        assert!(stored == bad || payload(&stored, key).is_ok());
        let log = logged(|| run_kernel(&folder));
        assert!(log.is_empty(), "{log}");
    }
    assert_eq!(said, 1, "said once");
}
