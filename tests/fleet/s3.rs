//! Blobs in S3, for which moto stands in: `python3 -m pip install --target target/moto 'moto[server]==5.2.5'`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use openvm_wgpu_backend::fleet::{
    blobs::{BlobError, BlobName, Blobs},
    temporal::Worker,
};

use crate::{
    alone, beside,
    processes::{free_port, Process, LOCAL},
    stand_in::{StandIn, StandInWorkshop},
    wait, Scene,
};

struct Moto {
    child: Process,
    port: u16,
}

impl Moto {
    fn start() -> Self {
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("moto");
        let port = free_port(LOCAL);
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONPATH", installed);
        let child = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let mut moto = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = moto.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < Duration::from_secs(60), "moto, as above: {ended:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    fn create(&self, bucket: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "PUT /{bucket} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().unwrap().contains("200"), "{answer}");
    }

    fn url(&self, bucket: &str) -> String {
        let options = "region=us-east-1&allow_http=true&aws_access_key_id=any&aws_secret_access_key=any";
        format!("s3://{bucket}/some/where?endpoint=http://127.0.0.1:{}&{options}", self.port)
    }
}

#[test]
fn a_jobs_files_lie_in_s3() {
    let _alone = alone();
    let moto = Moto::start();
    moto.create("fleet");
    let mut scene = Scene::new("s3");
    scene.blobs = Blobs::open(&moto.url("fleet")).unwrap();
    let worker = Worker::new("a", scene.at(), Blobs::open(&moto.url("fleet")).unwrap());
    let worker = worker.device(StandInWorkshop::new(StandIn::default(), scene.scratch.log_path()));
    beside(worker, async {
        let client = scene.client().await;
        scene.submit(&client, "job", 12, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 12, true).await;
        // what is there already is not made again, and the first note counts
        let begun = scene.begun();
        scene.submit(&client, "job", 12, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 12, true).await;
        assert_eq!(scene.begun(), begun);
        let (first, second) = (scene.blobs.put(vec![1]).await.unwrap(), scene.blobs.put(vec![2]).await.unwrap());
        assert_eq!(scene.blobs.note("key", first).await.unwrap(), first);
        assert_eq!(scene.blobs.note("key", second).await.unwrap(), first);
    });
    let missing = BlobName::of(b"nobody wrote this");
    assert!(matches!(wait(scene.blobs.get(missing)), Err(BlobError::Missing(name)) if name == missing));
    let nowhere = Blobs::open(&moto.url("no-such-bucket")).unwrap();
    assert!(matches!(wait(nowhere.put(vec![1])), Err(BlobError::Store(_))));
}
