//! The graph in pieces that the server takes: one workflow holds at most [`MOST_TASKS`] tasks, since more than 2,000 pending ones hang it.
//!
//! Pure: the workflows run what is outlined here, and so does every worker that looks a task up.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Plan, Task};

/// Tasks of one workflow.
pub const MOST_TASKS: usize = 500;

/// Classes of device memory, GiB. Each has a queue of its own, which workers with that much memory and more look into.
pub const CLASSES: [u64; 11] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 80, 128];

/// The smallest class that holds `bytes`; `None` for more than there are.
pub fn class_of(bytes: u64) -> Option<u64> {
    CLASSES.into_iter().find(|class| class << 30 >= bytes)
}

/// The queue of a class.
pub fn queue(class: u64) -> String {
    format!("prove-{class}g")
}

/// A task as a workflow sees it: names and numbers, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The task's id.
    pub id: String,
    /// Its class of memory.
    pub class: u64,
    /// Its level.
    pub level: u32,
    /// Its children: numbers within the group; at the top, groups come first and tasks of the top behind them.
    pub children: Vec<usize>,
}

/// What a workflow runs that has other workflows below itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// How many groups there are.
    pub groups: usize,
    /// Tasks over groups; none if there is one group or nothing is aggregated.
    pub top: Vec<Item>,
}

/// The tasks of a plan in groups: subtrees, or stretches of segments where nothing is aggregated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Children come before their parents; the last task of a subtree is its root.
    pub groups: Vec<Vec<Item>>,
    /// Tasks over them.
    pub top: Vec<Item>,
}

impl Groups {
    /// Groups of at most `most` of a plan's tasks, which come as the graph has them.
    ///
    /// # Errors
    ///
    /// What does not fit: a task larger than all classes, or more groups than one workflow can have.
    pub fn new(plan: &Plan, tasks: &[Task], most: usize) -> Result<Self, String> {
        let numbers: HashMap<&str, usize> =
            tasks.iter().enumerate().map(|(number, task)| (task.id.as_str(), number)).collect();
        let children: Vec<Vec<usize>> =
            tasks.iter().map(|task| task.inputs.iter().map(|input| numbers[input.as_str()]).collect()).collect();
        let roots = if plan.aggregated { roots(tasks, &children, most) } else { vec![] };
        let items: Vec<Item> = tasks.iter().map(item).collect::<Result<_, _>>()?;
        let groups: Vec<Vec<Item>> = match plan.aggregated {
            true => roots.iter().map(|root| subtree(*root, &items, &children)).collect(),
            false => items.chunks(most).map(<[Item]>::to_vec).collect(),
        };
        let top = if plan.aggregated { over(&roots, tasks, &items, &children) } else { vec![] };
        match groups.len() + top.len() {
            0..=1000 => Ok(Self { groups, top }),
            all => Err(format!("{} segments are too many: {all} groups of {most} tasks", plan.segments.len())),
        }
    }

    /// Without the groups' tasks.
    pub fn outline(&self) -> Outline {
        Outline { groups: self.groups.len(), top: self.top.clone() }
    }
}

fn item(task: &Task) -> Result<Item, String> {
    let too_large = || format!("task {} needs {} bytes, more than any class of memory", task.id, task.device_bytes);
    let class = class_of(task.device_bytes).ok_or_else(too_large)?;
    Ok(Item { id: task.id.clone(), class, level: task.level, children: vec![] })
}

/// The roots of groups: all tasks of the highest level whose subtrees have at most `most` tasks each.
fn roots(tasks: &[Task], children: &[Vec<usize>], most: usize) -> Vec<usize> {
    let mut sizes = vec![1; tasks.len()];
    for number in 0..tasks.len() {
        sizes[number] += children[number].iter().map(|child| sizes[*child]).sum::<usize>();
    }
    let fits = |level: &u32| (0..tasks.len()).filter(|n| tasks[*n].level == *level).all(|n| sizes[n] <= most);
    let top = tasks.last().map_or(0, |task| task.level);
    let level = (0..=top).rev().find(fits).unwrap_or(0);
    (0..tasks.len()).filter(|number| tasks[*number].level == level).collect()
}

/// The tasks of a subtree, in the graph's order.
fn subtree(root: usize, items: &[Item], children: &[Vec<usize>]) -> Vec<Item> {
    let mut members = vec![root];
    let mut next = 0;
    while next < members.len() {
        members.extend(&children[members[next]]);
        next += 1;
    }
    members.sort_unstable();
    let place = |number: &usize| members.binary_search(number).expect("a child belongs to the subtree");
    let member = |number: &usize| {
        let children = children[*number].iter().map(place).collect();
        Item { children, ..items[*number].clone() }
    };
    members.iter().map(member).collect()
}

/// The tasks above `roots`.
fn over(roots: &[usize], tasks: &[Task], items: &[Item], children: &[Vec<usize>]) -> Vec<Item> {
    let level = roots.first().map_or(0, |root| tasks[*root].level);
    let mut places: HashMap<usize, usize> = roots.iter().enumerate().map(|(place, root)| (*root, place)).collect();
    let mut top = vec![];
    for number in (0..tasks.len()).filter(|number| tasks[*number].level > level) {
        let children = children[number].iter().map(|child| places[child]).collect();
        places.insert(number, roots.len() + top.len());
        top.push(Item { children, ..items[number].clone() });
    }
    top
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fleet::{Graph, PlannedSegment, SegmentPlace, State};

    fn plan(segments: usize, aggregated: bool) -> Plan {
        let segment = |segment: usize| PlannedSegment {
            place: SegmentPlace { segment, segments, first_instruction: segment as u64, instructions: 1 },
            device_bytes: 3 << 30,
        };
        Plan {
            job: "job".into(),
            start: State::default(),
            segments: (0..segments).map(segment).collect(),
            aggregated,
            leaf_arity: Plan::LEAF_ARITY,
            internal_arity: Plan::INTERNAL_ARITY,
            node_bytes: 9 << 30,
        }
    }

    fn groups(segments: usize, aggregated: bool, most: usize) -> (Vec<Task>, Groups) {
        let plan = plan(segments, aggregated);
        let tasks: Vec<Task> = Graph::new(&plan).unwrap().tasks().cloned().collect();
        let groups = Groups::new(&plan, &tasks, most).unwrap();
        (tasks, groups)
    }

    #[test]
    fn every_task_is_in_one_group_with_its_children() {
        for segments in [1, 4, 5, 37, 324, 325, 1000, 20_000] {
            for (aggregated, most) in [(true, MOST_TASKS), (false, MOST_TASKS), (true, 20), (true, 7)] {
                if segments == 20_000 && most < MOST_TASKS {
                    continue;
                }
                let (tasks, groups) = groups(segments, aggregated, most);
                let mut ids = BTreeSet::new();
                for group in &groups.groups {
                    assert!(group.len() <= most && !group.is_empty());
                    for (number, item) in group.iter().enumerate() {
                        assert!(ids.insert(item.id.clone()) && item.children.iter().all(|child| *child < number));
                        let task = tasks.iter().find(|task| task.id == item.id).unwrap();
                        assert!(item.children.iter().map(|child| &group[*child].id).eq(&task.inputs));
                    }
                }
                let roots = groups.groups.iter().map(|group| group.last().unwrap().id.clone()).collect::<Vec<_>>();
                let all: Vec<_> = roots.into_iter().chain(groups.top.iter().map(|item| item.id.clone())).collect();
                for item in &groups.top {
                    assert!(ids.insert(item.id.clone()));
                    let task = tasks.iter().find(|task| task.id == item.id).unwrap();
                    assert!(item.children.iter().map(|child| &all[*child]).eq(&task.inputs));
                }
                assert_eq!(ids.len(), tasks.len(), "{segments} {aggregated} {most}");
            }
            // a long proof's plan is slow to look through in this way
            if segments == 1000 && cfg!(debug_assertions) {
                break;
            }
        }
    }

    #[test]
    fn long_proofs_have_groups_of_324_segments() {
        let (_, all) = groups(20_000, true, MOST_TASKS);
        assert_eq!((all.groups.len(), all.groups[0].len()), (62, 324 + 81 + 27 + 9 + 3 + 1));
        assert!(all.top.len() < 40);
        let (_, one) = groups(324, true, MOST_TASKS);
        assert_eq!((one.groups.len(), one.top.len()), (1, 0));
        let (_, stretches) = groups(1001, false, MOST_TASKS);
        assert_eq!(stretches.groups.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 1]);
    }

    #[test]
    fn classes_hold_what_they_are_for() {
        let gib = 1 << 30;
        assert_eq!([0, gib, gib + 1, 9 * gib, 128 * gib].map(class_of), [1, 1, 2, 12, 128].map(Some));
        assert_eq!(class_of(129 * gib), None);
        let (_, all) = groups(5, true, MOST_TASKS);
        assert!(all.groups[0].iter().all(|item| item.class == if item.level == 0 { 4 } else { 12 }));
        let mut large = plan(1, false);
        large.segments[0].device_bytes = 200 * gib;
        let tasks: Vec<Task> = Graph::new(&large).unwrap().tasks().cloned().collect();
        assert!(Groups::new(&large, &tasks, MOST_TASKS).unwrap_err().contains("more than any class"));
    }
}
