//! Dispatches that have many jobs each (`wgsl/jobs.wgsl`).

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Element, Grid, Recorder},
};

/// Words of a job, the first of which is its first workgroup.
const JOB_WORDS: usize = 12;

/// The jobs of several dispatches, each of which reads one buffer.
pub(super) struct JobTable<T> {
    words: Vec<[u32; JOB_WORDS]>,
    dispatches: Vec<Jobs<T>>,
}

/// The jobs of one dispatch.
struct Jobs<T> {
    source: DeviceBuffer<T>,
    first: usize,
    workgroups: usize,
}

impl<T> Default for JobTable<T> {
    fn default() -> Self {
        Self { words: vec![], dispatches: vec![] }
    }
}

impl<T: Element> JobTable<T> {
    /// Begins a dispatch that reads `source`.
    pub(super) fn begin(&mut self, source: DeviceBuffer<T>) {
        self.dispatches.push(Jobs { source, first: self.words.len(), workgroups: 0 });
    }

    /// What the dispatch that was begun reads.
    ///
    /// # Panics
    ///
    /// When none was.
    pub(super) fn source(&self) -> &DeviceBuffer<T> {
        &self.dispatches.last().expect("a dispatch").source
    }

    /// Adds a job to the dispatch that was begun.
    ///
    /// # Panics
    ///
    /// For more words than there is room for.
    pub(super) fn add(&mut self, words: &[usize], workgroups: usize) {
        let dispatch = self.dispatches.last_mut().expect("a dispatch");
        let mut job = [0; JOB_WORDS];
        job[0] = dispatch.workgroups as u32;
        job[1..=words.len()].iter_mut().zip(words).for_each(|(to, word)| *to = *word as u32);
        self.words.push(job);
        dispatch.workgroups += workgroups;
    }

    /// Uploads the jobs and records the dispatches: `dispatch` gets the source, the jobs, the first one and how many, and the grid.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    pub(super) fn record(
        &self,
        rec: &mut Recorder,
        dispatch: impl Fn(&mut Recorder, &DeviceBuffer<T>, &DeviceBuffer<u32>, (u32, u32), Grid),
    ) -> Result<()> {
        if self.words.is_empty() {
            return Ok(());
        }
        let words = rec.gpu().upload(self.words.as_flattened(), "jobs of the stacked reduction")?;
        let ends = self.dispatches.iter().skip(1).map(|jobs| jobs.first).chain([self.words.len()]);
        for (jobs, end) in self.dispatches.iter().zip(ends) {
            let range = (jobs.first as u32, (end - jobs.first) as u32);
            dispatch(rec, &jobs.source, &words, range, Grid::workgroups(jobs.workgroups));
        }
        Ok(())
    }
}
