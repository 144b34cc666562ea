//! A worker's metrics, for Prometheus.

use std::{
    sync::{atomic::Ordering, Arc},
    time::Duration,
};

use metrics::{counter, gauge};
use openvm_wgpu_backend::fleet::{
    blobs::BlobTraffic,
    temporal::{Counters, Workshop},
};

/// How often figures are brought up to date.
const OFTEN: Duration = Duration::from_secs(1);

/// Where a worker's figures come from.
pub struct Figures {
    pub counters: Arc<Counters>,
    pub traffic: Arc<BlobTraffic>,
    pub workshops: Vec<Arc<dyn Workshop>>,
}

impl Figures {
    /// Brings them up to date until the process ends.
    pub fn keep(self) {
        std::thread::spawn(move || loop {
            self.update();
            std::thread::sleep(OFTEN);
        });
    }

    fn update(&self) {
        let (counted, ran) = self.counters.read();
        for ((kind, state), tasks) in &counted.tasks {
            counter!("fleet_tasks", "kind" => *kind, "state" => *state).absolute(*tasks);
        }
        let proving = counted.proving.as_secs_f64();
        gauge!("fleet_proving_seconds").set(proving);
        gauge!("fleet_idle_seconds").set((ran.as_secs_f64() * self.workshops.len() as f64 - proving).max(0.0));
        counter!("fleet_rejected_results").absolute(counted.rejected);
        counter!("fleet_blob_bytes", "direction" => "read").absolute(self.traffic.read.load(Ordering::Relaxed));
        counter!("fleet_blob_bytes", "direction" => "written").absolute(self.traffic.written.load(Ordering::Relaxed));
        for workshop in &self.workshops {
            let device = workshop.name();
            gauge!("fleet_device_memory_bytes", "device" => device.clone()).set(workshop.memory() as f64);
            gauge!("fleet_device_memory_in_use_bytes", "device" => device).set(workshop.memory_in_use() as f64);
        }
    }
}
