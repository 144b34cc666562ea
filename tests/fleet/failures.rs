//! What fails: workers, devices, servers, wires, results, files, guests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use openvm_wgpu_backend::fleet::{
    temporal::{JobError, JobState},
    Graph,
};

use crate::{
    alone,
    network::{self, Host},
    stand_in::{plan, Fault, Lie, StandIn},
    tasks, until, wait, Scene,
};

#[test]
fn a_killed_workers_task_runs_elsewhere_within_seconds() {
    let _alone = alone();
    let scene = Scene::new("killed");
    let slow = StandIn { milliseconds: 700, ..StandIn::default() };
    let mut doomed = scene.worker("doomed", slow.clone());
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 12, true).await;
        until("the first task", 30, || !scene.begun().is_empty()).await;
        let _other = scene.worker("other", slow.clone());
        until("the other worker", 30, || scene.begun().values().any(|by| by.contains(&"other/stand-in".into()))).await;
        doomed.kill();
        let (killed, before) = (Instant::now(), scene.begun());
        let under_way = |begun: &BTreeMap<String, Vec<String>>| -> Vec<String> {
            let is_doomed = |(id, by): (&String, &Vec<String>)| (by.last()? == "doomed/stand-in").then(|| id.clone());
            begun
                .iter()
                .filter_map(is_doomed)
                .filter(|id| !scene.scratch.log().contains(&format!("end {id} ")))
                .collect()
        };
        let lost = under_way(&before);
        assert!(lost.len() <= 1, "{lost:?}");
        if let Some(id) = lost.first() {
            until("the lost task", 5, || scene.begun()[id].len() > 1).await;
            eprintln!("restarted after {:.1} s", killed.elapsed().as_secs_f64());
        }
        let outcome = client.wait("job").await.unwrap();
        scene.check("job", &outcome, 12, true).await;
        let again = scene.begun().values().filter(|by| by.len() > 1).count();
        assert!(again <= 1, "{:?}", scene.begun());
    });
}

#[test]
fn a_frozen_worker_that_wakes_up_late_changes_nothing() {
    let _alone = alone();
    let scene = Scene::new("frozen");
    let slow = StandIn { milliseconds: 500, ..StandIn::default() };
    let frozen = scene.worker("frozen", slow.clone());
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 6, true).await;
        until("the first task", 30, || !scene.begun().is_empty()).await;
        frozen.signal(libc::SIGSTOP);
        let _other = scene.worker("other", slow);
        let outcome = client.wait("job").await.unwrap();
        let first = scene.begun().values().filter(|by| by.len() > 1).count();
        frozen.signal(libc::SIGCONT);
        // what it was at ends, and is ignored or the same task's
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.check("job", &outcome, 6, true).await;
        assert!(first <= 1, "{:?}", scene.begun());
        let status = client.status("job").await.unwrap();
        assert_eq!((status.state, status.done), (JobState::Done, tasks(6, true)));
        // and it goes on working
        scene.submit(&client, "next", 6, false).await;
        scene.check("next", &client.wait("next").await.unwrap(), 6, false).await;
    });
}

#[test]
fn a_worker_behind_a_cut_wire_changes_nothing() {
    let _alone = alone();
    if !network::is_own("failures::a_worker_behind_a_cut_wire_changes_nothing") {
        return;
    }
    let (host, slow) = (Host::new(), StandIn { milliseconds: 500, ..StandIn::default() });
    let scene = Scene::at_ip("cut", network::HERE);
    let _far = scene.worker_on(&host, "far", slow.clone());
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 6, true).await;
        until("the first task", 30, || !scene.begun().is_empty()).await;
        host.cut();
        let near = scene.worker("near", slow);
        scene.check("job", &client.wait("job").await.unwrap(), 6, true).await;
        assert!(scene.begun().values().filter(|by| by.len() > 1).count() <= 1, "{:?}", scene.begun());
        // and goes on working when it is mended
        drop(near);
        host.mend();
        scene.submit(&client, "next", 6, false).await;
        scene.check("next", &client.wait("next").await.unwrap(), 6, false).await;
    });
}

#[test]
fn no_finished_task_runs_again_when_the_server_was_away() {
    let _alone = alone();
    let mut scene = Scene::new("away");
    let _worker = scene.worker("a", StandIn { milliseconds: 150, ..StandIn::default() });
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 40, true).await;
        until("some tasks", 30, || scene.begun().len() > 10).await;
        scene.server.kill();
        let done = scene.scratch.log();
        tokio::time::sleep(Duration::from_secs(8)).await;
        scene.server.start_again();
        let client = scene.client().await;
        scene.check("job", &client.wait("job").await.unwrap(), 40, true).await;
        for (id, by) in scene.begun() {
            assert!(by.len() == 1 || !done.contains(&format!("end {id} ")), "{id} {by:?}");
        }
    });
}

#[test]
fn a_guest_that_traps_ends_its_job_and_no_other() {
    let _alone = alone();
    let scene = Scene::new("traps");
    let _worker = scene.worker("a", StandIn { milliseconds: 50, ..StandIn::default() });
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "other", 30, true).await;
        let start = Instant::now();
        scene.submit(&client, "trap", 30, true).await;
        let error = client.wait("trap").await.unwrap_err();
        assert_eq!(error, JobError::Guest("pc 0x1234: not an instruction".into()));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(client.status("trap").await.unwrap().state, JobState::Failed);
        scene.check("other", &client.wait("other").await.unwrap(), 30, true).await;
    });
}

#[test]
fn a_worker_with_two_bad_results_stops_itself() {
    let _alone = alone();
    for lie in [Lie::Flipped, Lie::Truncated, Lie::AnotherProgram] {
        let scene = Scene::new("bad");
        let mut bad = scene.worker("bad", StandIn { lie: Some(lie), ..StandIn::default() });
        wait(async {
            let client = scene.client().await;
            scene.submit(&client, "job", 10, true).await;
            until("the bad worker's end", 60, || bad.ended() == Some(9)).await;
            let _good = scene.worker("good", StandIn::default());
            scene.check("job", &client.wait("job").await.unwrap(), 10, true).await;
            let begun = scene.begun();
            assert_eq!(begun.values().flatten().filter(|by| *by == "bad/stand-in").count(), 2, "{lie:?}");
        });
    }
}

#[test]
fn a_worker_whose_device_is_lost_ends_and_others_go_on() {
    let _alone = alone();
    let scene = Scene::new("lost");
    let mut lost = scene.worker("lost", StandIn { fault: Some((3, Fault::Lost)), ..StandIn::default() });
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 10, true).await;
        until("the end without a device", 60, || lost.ended() == Some(9)).await;
        let _other = scene.worker("other", StandIn::default());
        scene.check("job", &client.wait("job").await.unwrap(), 10, true).await;
        let begun = scene.begun();
        assert_eq!(begun.values().flatten().filter(|by| *by == "lost/stand-in").count(), 4);
        assert_eq!(begun.values().filter(|by| by.len() == 2).count(), 1, "{begun:?}");
    });
}

#[test]
fn a_task_whose_device_failed_is_tried_again() {
    let _alone = alone();
    let mut scene = Scene::new("fails");
    // that it is there before the server changes nothing
    scene.server.kill();
    let _worker = scene.worker("a", StandIn { fault: Some((3, Fault::Fails)), ..StandIn::default() });
    std::thread::sleep(Duration::from_secs(2));
    scene.server.start_again();
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 10, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 10, true).await;
        let times: Vec<usize> = scene.begun().values().map(Vec::len).collect();
        assert_eq!((times.len(), times.iter().sum::<usize>()), (tasks(10, true), tasks(10, true) + 1));
    });
}

#[test]
fn proofs_that_are_damaged_in_the_store_are_made_again() {
    let _alone = alone();
    let scene = Scene::new("damaged");
    let worker = scene.worker("a", StandIn::default());
    wait(async {
        let client = scene.client().await;
        let manifest = scene.submit(&client, "job", 9, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 9, true).await;
        let kept = manifest.to_string();
        for file in files(&scene.scratch.blobs().join("blobs")) {
            if !file.ends_with(&kept) {
                let proof = std::fs::read(&file).unwrap();
                std::fs::write(file, &proof[1..]).unwrap();
            }
        }
        scene.submit(&client, "job", 9, true).await;
        scene.check("job", &client.wait("job").await.unwrap(), 9, true).await;
        assert!(scene.begun().values().all(|by| by.len() >= 2), "{:?}", scene.begun());
        // but not what nobody can make
        std::fs::remove_file(scene.scratch.blobs().join("blobs").join(&kept[..2]).join(&kept)).unwrap();
        drop(worker);
        let _without_memory_of_it = scene.worker("b", StandIn::default());
        client.submit("gone", manifest).await.unwrap();
        let error = client.wait("gone").await.unwrap_err();
        assert!(matches!(&error, JobError::Failed(text) if text.contains(&kept)), "{error}");
    });
}

/// All files in a folder and those in it.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn liars_results_are_refused_by_who_takes_them() {
    let _alone = alone();
    for lie in [Lie::Flipped, Lie::AnotherSegment] {
        let scene = Scene::new("liar");
        // one that does not verify what it makes
        let liar = StandIn { lie: Some(lie), honest: false, milliseconds: 20, ..StandIn::default() };
        let _liar = scene.worker("liar", liar);
        wait(async {
            let client = scene.client().await;
            scene.submit(&client, "job", 50, true).await;
            until("some lies", 60, || scene.begun().len() > 5).await;
            let _good =
                ["good", "better"].map(|name| scene.worker(name, StandIn { milliseconds: 20, ..StandIn::default() }));
            let outcome = client.wait("job").await.unwrap();
            scene.check("job", &outcome, 50, true).await;
            assert!(client.status("job").await.unwrap().refused > 0, "{lie:?}");
        });
    }
}

#[test]
fn what_was_asked_to_stop_finishes_short_tasks_and_gives_long_ones_back() {
    let _alone = alone();
    let scene = Scene::new("drains");
    wait(async {
        let client = scene.client().await;
        for (id, milliseconds, times) in [("short", 1000, 1), ("long", 6000, 2)] {
            let slow = StandIn { milliseconds, ..StandIn::default() };
            let mut first = scene.worker("first", slow);
            scene.submit(&client, id, 1, false).await;
            let task = Graph::new(&plan(id, 1, false)).unwrap().tasks().next().unwrap().id.clone();
            until("the task", 30, || scene.begun().contains_key(&task)).await;
            first.signal(libc::SIGTERM);
            let start = Instant::now();
            until("the worker's end", 20, || first.ended() == Some(0)).await;
            assert!(start.elapsed() < Duration::from_secs(8));
            let _second = scene.worker("second", StandIn::default());
            scene.check(id, &client.wait(id).await.unwrap(), 1, false).await;
            assert_eq!(scene.begun()[&task].len(), times, "{id}");
        }
    });
}
