//! A server behind TLS that asks for certificates: Python's `ssl` ends the encryption before Temporal's development server, which has none.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use openvm_wgpu_backend::fleet::temporal::{Client, FleetError, Server, Worker};
use tokio::task::JoinSet;

use crate::{
    alone, beside,
    processes::{Process, Scratch},
    stand_in::{StandIn, StandInWorkshop},
    Scene,
};

/// The name in the server's certificate.
const NAME: &str = "temporal.test";

/// `port certificate key authority`: listens with TLS on a port that it prints, and hands what comes to `port`.
const PROXY: &str = r#"
import asyncio, ssl, sys

port, certificate, key, authority = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
context.load_cert_chain(certificate, key)
context.verify_mode = ssl.CERT_REQUIRED
context.set_alpn_protocols(["h2"])

async def pipe(source, target):
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()

async def connected(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", int(port))
    await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

/// `NAME.pem` and `NAME.key`: an authority, or what one has signed.
fn certificate(folder: &Path, name: &str, signed_by: Option<&str>) {
    let key = format!("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 2");
    let signed = match signed_by {
        Some(authority) => {
            let of = format!("-subj /CN={name} -addext subjectAltName=DNS:{name} -addext basicConstraints=CA:FALSE");
            format!("{of} -CA {authority}.pem -CAkey {authority}.key")
        }
        None => format!("-subj /CN={name}"),
    };
    openssl(folder, &format!("req -x509 {key} {signed}"));
}

/// The proxy before `server`, and its port.
fn proxy(scratch: &Scratch, server: &str) -> (Process, u16) {
    let port = server.rsplit(':').next().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", PROXY, port]).args(
        [NAME, NAME, "authority"]
            .iter()
            .zip(["pem", "key", "pem"])
            .map(|(name, extension)| scratch.path().join(format!("{name}.{extension}"))),
    );
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(child), line.trim().parse().unwrap())
}

#[test]
fn jobs_go_through_tls_for_those_who_have_a_certificate() {
    let _alone = alone();
    let scene = Scene::new("tls");
    let folder = scene.scratch.path();
    for authority in ["authority", "other"] {
        certificate(folder, authority, None);
    }
    certificate(folder, NAME, Some("authority"));
    certificate(folder, "client", Some("authority"));
    certificate(folder, "stranger", Some("other"));
    let (_proxy, port) = proxy(&scene.scratch, &scene.server.url());
    let pem = |name: &str| folder.join(format!("{name}.pem"));
    let identity = |name: &str| Some((pem(name), folder.join(format!("{name}.key"))));
    let server = Server {
        ca: Some(pem("authority")),
        identity: identity("client"),
        server_name: Some(NAME.into()),
        ..Server::new(format!("https://127.0.0.1:{port}"))
    };
    let refused = [
        Server { identity: None, ..server.clone() },
        Server { identity: identity("stranger"), ..server.clone() },
        Server { ca: Some(pem("other")), ..server.clone() },
        Server { server_name: Some("elsewhere.test".into()), ..server.clone() },
    ];
    let worker = Worker::new("a", server.clone(), scene.blobs.clone());
    let worker = worker.device(StandInWorkshop::new(StandIn::default(), scene.scratch.log_path()));
    beside(worker, async {
        let client = Client::connect(&server).await.unwrap();
        scene.submit(&client, "job", 5, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 5, true).await;
        // each asks for ten seconds
        let mut asking = JoinSet::new();
        for server in refused {
            asking.spawn(async move {
                let error = Client::connect(&server).await.err();
                assert!(matches!(error, Some(FleetError::Server { .. })), "{server:?}: {error:?}");
            });
        }
        asking.join_all().await;
    });
}
