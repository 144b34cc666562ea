//! Where the views lie and in which order everything happens: plain layout arithmetic, no device.

use crate::{
    error::{Error, Result},
    kernels::stacked_reduction::ColumnRun,
    stages::pcs::StackedMatrix,
};

/// Views of one height that are all rotated or all not: they share their weights, so only their lambda-combination matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViewGroup {
    pub log_height: usize,
    pub rot: bool,
    /// log2 of the points of its cube.
    pub n_lift: usize,
    /// Index in [`ReductionPlan::kinds`].
    pub kind: usize,
    /// First element in the concatenation of all groups.
    pub cube_at: usize,
}

/// What determines a group's univariate weights: tall groups (height at least 2^l_skip, then `log_z = l_skip`) share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// log2 of the points of the skip domain with values.
    pub log_z: usize,
    pub rot: bool,
}

/// Views of a group that lie at regular distances in one buffer and follow each other in the stacked matrix.
pub(crate) struct ViewRun {
    pub columns: ColumnRun,
    /// Index in [`ReductionPlan::groups`].
    pub group: usize,
    commit: usize,
    /// First cell of the stacked matrix.
    cell: usize,
    /// Piece of the commitment and first column of the segment.
    segment: (usize, usize),
}

/// One level: everything folded by u_0..u_level.
#[derive(Debug, Default)]
pub(crate) struct CubeLevel {
    /// Elements of the concatenated groups at this level (those with `n_lift >= level`), and how many of them have a variable left.
    pub cube_len: usize,
    pub cube_paired: usize,
    /// The runs with `n_lift == level`.
    pub runs: std::ops::Range<usize>,
    /// Views in these runs.
    pub slots: usize,
    /// Nodes, with padding to pairs per commitment.
    pub nodes: usize,
    /// Word of [`ReductionPlan::words`] where the runs begin: first slot, first node, first view, place of the group's weight.
    pub runs_at: usize,
    /// Word where the commitments begin: first node, end of the views, end of the folds, first source.
    pub commits_at: usize,
}

/// The whole plan.
pub(crate) struct ReductionPlan {
    pub l_skip: usize,
    pub n_stack: usize,
    pub views: usize,
    /// Stacked columns of each commitment.
    pub widths: Vec<usize>,
    /// By falling `n_lift`.
    pub groups: Vec<ViewGroup>,
    pub kinds: Vec<Kind>,
    /// In the order of their groups.
    pub runs: Vec<ViewRun>,
    /// Levels 0 to n_stack.
    pub levels: Vec<CubeLevel>,
    /// The tables that kernels read.
    pub words: Vec<u32>,
    /// Word where the groups begin: first element, dimension, kind.
    pub groups_at: usize,
}

impl ReductionPlan {
    /// Plans the reduction of these commitments.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when layouts are not what `StackedLayout::new` makes for `l_skip` and `n_stack`.
    pub(super) fn new(
        l_skip: usize,
        n_stack: usize,
        commits: &[&StackedMatrix],
        need_rot: &[Vec<bool>],
    ) -> Result<Self> {
        if commits.len() != need_rot.len() {
            return Err(Error::InvalidInput(format!("{} commitments, {} rotations", commits.len(), need_rot.len())));
        }
        let mut plan = Self {
            l_skip,
            n_stack,
            views: 0,
            widths: vec![],
            groups: vec![],
            kinds: vec![],
            runs: vec![],
            levels: vec![],
            words: vec![],
            groups_at: 0,
        };
        for (commit, rots) in commits.iter().zip(need_rot) {
            plan.add_commitment(commit, rots)?;
        }
        plan.sort_groups();
        plan.add_levels();
        Ok(plan)
    }

    /// Elements of the concatenated groups before any fold.
    pub(super) fn cube_len(&self) -> usize {
        self.groups.last().map_or(0, |g| g.cube_at + (1 << g.n_lift))
    }

    /// The first of the lowest groups whose vectors fit a binding of `most` elements together.
    pub(super) fn first_low(&self, most: usize) -> usize {
        (0..self.groups.len()).find(|first| self.low_at(*first, self.groups.len()) <= most).unwrap_or(self.groups.len())
    }

    /// Where the vector of a group, or what follows the last one, lies among those of the groups from `first` on.
    pub(super) fn low_at(&self, first: usize, group: usize) -> usize {
        let at = |g: usize| self.groups.get(g).map_or(self.cube_len(), |group| group.cube_at);
        (at(group) - at(first)) << self.l_skip
    }

    /// The most nodes of a level.
    pub(super) fn max_nodes(&self) -> usize {
        self.levels.iter().map(|level| level.nodes).max().unwrap_or(0)
    }

    /// The most dimensions of a cube.
    pub(super) fn max_n_lift(&self) -> usize {
        self.groups.first().map_or(0, |g| g.n_lift)
    }

    /// The runs of a group.
    pub(super) fn runs_of(&self, group: usize) -> &[ViewRun] {
        let start = self.runs.partition_point(|run| run.group < group);
        let end = self.runs.partition_point(|run| run.group <= group);
        &self.runs[start..end]
    }

    fn add_commitment(&mut self, commit: &StackedMatrix, rots: &[bool]) -> Result<()> {
        let layout = commit.layout();
        let index = self.widths.len();
        let invalid = |what: &str| Err(Error::InvalidInput(format!("commitment {index}: {what}")));
        if layout.l_skip() != self.l_skip || layout.height() != 1 << (self.l_skip + self.n_stack) {
            return invalid("not of the parameters' height");
        }
        if rots.len() != layout.mat_starts.len() {
            return invalid("rotations do not match the number of traces");
        }
        let (mut next_cell, mut last_height) = (0, usize::MAX);
        for &(mat, _, slice) in &layout.sorted_cols {
            let cell = slice.col_idx * layout.height() + slice.row_idx;
            if cell != next_cell || slice.log_height() > last_height {
                return invalid("columns are not stacked by falling height");
            }
            next_cell = cell + slice.len(self.l_skip);
            last_height = slice.log_height();
            let group = self.group(slice.log_height(), rots[mat]);
            let (segment, columns) = self.column(commit, cell, slice.log_height());
            self.add_view(ViewRun { columns, group, commit: index, cell, segment });
        }
        self.widths.push(layout.width());
        Ok(())
    }

    /// The group of a height, made when it is new.
    fn group(&mut self, log_height: usize, rot: bool) -> usize {
        let found = self.groups.iter().position(|g| g.log_height == log_height && g.rot == rot);
        found.unwrap_or_else(|| {
            let kind = Kind { log_z: log_height.min(self.l_skip), rot };
            let known = self.kinds.iter().position(|k| *k == kind);
            let kind = known.unwrap_or_else(|| {
                self.kinds.push(kind);
                self.kinds.len() - 1
            });
            let n_lift = log_height.saturating_sub(self.l_skip);
            self.groups.push(ViewGroup { log_height, rot, n_lift, kind, cube_at: 0 });
            self.groups.len() - 1
        })
    }

    /// The single column that begins at a cell, and the segment (piece and first column) that holds it.
    fn column(&self, commit: &StackedMatrix, cell: usize, log_height: usize) -> ((usize, usize), ColumnRun) {
        let at = commit.pieces().partition_point(|p| p.first_cell <= cell) - 1;
        let piece = &commit.pieces()[at];
        let element = (cell - piece.first_cell) >> piece.log_stride;
        let height = piece.matrix.height();
        let segment = piece.matrix.segment_of(element / height);
        let len = 1 << log_height.max(self.l_skip);
        let columns = ColumnRun {
            source: segment.buffer.clone(),
            offset: element - segment.columns.start * height,
            pitch: len >> piece.log_stride,
            stride: (len >> log_height) >> piece.log_stride,
            log_height,
            first_view: self.views,
            views: 1,
        };
        ((at, segment.columns.start), columns)
    }

    /// Adds a view: to the last run where it continues that, else as a run of its own.
    fn add_view(&mut self, view: ViewRun) {
        self.views += 1;
        if let Some(run) = self.runs.last_mut() {
            let (last, next) = (&mut run.columns, &view.columns);
            let regular = (last.pitch, last.stride) == (next.pitch, next.stride)
                && last.offset + last.views * last.pitch == next.offset;
            if regular && (run.group, run.commit, run.segment) == (view.group, view.commit, view.segment) {
                last.views += 1;
                return;
            }
        }
        self.runs.push(view);
    }

    /// Orders groups by falling dimension, and their runs with them.
    fn sort_groups(&mut self) {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.sort_by_key(|&g| (std::cmp::Reverse(self.groups[g].log_height), self.groups[g].rot));
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &g)| rank[g] = at);
        self.groups = order.iter().map(|&g| self.groups[g]).collect();
        let mut cube_at = 0;
        for group in &mut self.groups {
            group.cube_at = cube_at;
            cube_at += 1 << group.n_lift;
        }
        self.runs.iter_mut().for_each(|run| run.group = rank[run.group]);
        self.runs.sort_by_key(|run| run.group);
        self.groups_at = self.words.len();
        for g in &self.groups {
            self.words.extend([g.cube_at as u32, g.n_lift as u32, g.kind as u32]);
        }
    }

    fn add_levels(&mut self) {
        // per commitment: first node and node count of the level before
        let mut before = vec![(0, 0); self.widths.len()];
        for level in 0..=self.n_stack {
            let mut next =
                CubeLevel { runs_at: self.words.len(), runs: self.runs_at_level(level), ..CubeLevel::default() };
            // groups with at least so many dimensions come first
            let cube_end =
                |n: usize| self.groups.iter().rfind(|g| g.n_lift >= n).map_or(0, |g| g.cube_at + (1 << g.n_lift));
            next.cube_len = cube_end(level) >> level;
            next.cube_paired = cube_end(level + 1) >> level;
            let commits = self.place_nodes(level, &mut next, &mut before);
            next.commits_at = self.words.len();
            self.words.extend(commits);
            self.levels.push(next);
        }
    }

    fn runs_at_level(&self, level: usize) -> std::ops::Range<usize> {
        let n_lift = |run: &ViewRun| self.groups[run.group].n_lift;
        self.runs.partition_point(|run| n_lift(run) > level)..self.runs.partition_point(|run| n_lift(run) >= level)
    }

    /// Gives every node of a level its place: writes the runs' words, returns the commitments', and counts.
    fn place_nodes(&mut self, level: usize, next: &mut CubeLevel, before: &mut [(usize, usize)]) -> Vec<u32> {
        let mut commit_words = vec![];
        let mut first_nodes = vec![];
        for (commit, before) in before.iter_mut().enumerate() {
            let of_commit = self.runs[next.runs.clone()].iter().filter(|run| run.commit == commit);
            let first_cell = of_commit.clone().map(|run| run.cell).min();
            let views: usize = of_commit.map(|run| run.columns.views).sum();
            let folds = before.1 / 2;
            let mut nodes = views + folds;
            commit_words.extend([next.nodes, next.nodes + views, next.nodes + nodes, before.0].map(|w| w as u32));
            // the last level is the stacked columns themselves, which are not folded any more
            if level < self.n_stack {
                nodes = nodes.next_multiple_of(2);
            }
            first_nodes.push((next.nodes, first_cell.unwrap_or(0)));
            *before = (next.nodes, nodes);
            next.nodes += nodes;
        }
        for run in &self.runs[next.runs.clone()] {
            let (first_node, first_cell) = first_nodes[run.commit];
            let node = first_node + ((run.cell - first_cell) >> (self.l_skip + level));
            let weight_at = self.groups[run.group].cube_at >> level;
            let words = [next.slots, node, run.columns.first_view, weight_at];
            self.words.extend(words.map(|w| w as u32));
            next.slots += run.columns.views;
        }
        commit_words
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;
    use p3_field::PrimeCharacteristicRing;

    use super::*;
    use crate::gpu::{testing, DeviceMatrix};

    #[test]
    fn every_node_has_one_source() {
        let gpu = testing::gpu();
        let (l_skip, n_stack) = (2, 6);
        // (log_height, width) of the traces of two commitments; rotations alternate
        let shapes: [&[(usize, usize)]; 2] =
            [&[(7, 3), (7, 1), (5, 9), (4, 5), (2, 1), (1, 301), (0, 2)], &[(8, 1), (3, 7), (3, 2)]];
        let stacked = shapes.map(|shapes| {
            let trace = |&(log_height, width): &(usize, usize)| {
                let values = vec![F::ZERO; width << log_height];
                DeviceMatrix::upload(&gpu, &values, 1 << log_height, width, "trace").unwrap()
            };
            let traces: Vec<_> = shapes.iter().map(trace).collect();
            StackedMatrix::new(l_skip, n_stack, &traces.iter().collect::<Vec<_>>()).unwrap()
        });
        let need_rot = shapes.map(|shapes| (0..shapes.len()).map(|i| i % 2 == 0).collect());
        let plan = ReductionPlan::new(l_skip, n_stack, &[&stacked[0], &stacked[1]], &need_rot).unwrap();
        assert_eq!(plan.views, shapes.concat().iter().map(|shape| shape.1).sum::<usize>());
        let mut nodes_before = 0;
        for (n, level) in plan.levels.iter().enumerate() {
            let mut sources = vec![0; level.nodes];
            for (i, run) in plan.runs[level.runs.clone()].iter().enumerate() {
                let node = plan.words[level.runs_at + 4 * i + 1] as usize;
                sources[node..node + run.columns.views].iter_mut().for_each(|s| *s += 1);
                assert_eq!(plan.groups[run.group].n_lift, n);
            }
            let mut folded = vec![0; nodes_before];
            for words in plan.words[level.commits_at..level.commits_at + 4 * stacked.len()].chunks(4) {
                let [_, views_end, folds_end, source] = [0, 1, 2, 3].map(|i| words[i] as usize);
                sources[views_end..folds_end].iter_mut().for_each(|s| *s += 1);
                folded[source..source + 2 * (folds_end - views_end)].iter_mut().for_each(|s| *s += 1);
            }
            assert!(folded.iter().all(|count| *count == 1), "level {n}");
            let padding = sources.iter().filter(|count| **count == 0).count();
            assert!(sources.iter().all(|count| *count <= 1) && padding <= stacked.len(), "level {n}");
            assert_eq!(level.cube_len > 0, plan.groups.iter().any(|g| g.n_lift >= n));
            nodes_before = level.nodes;
        }
        assert_eq!(nodes_before, plan.widths.iter().sum::<usize>());
    }
}
