use super::*;
use crate::fleet::SegmentPlace;

/// A plan of `segments` segments, of which number i needs `bytes(i)`.
fn plan(segments: usize, aggregated: bool, bytes: impl Fn(usize) -> u64) -> Plan {
    let segment = |segment: usize| PlannedSegment {
        place: SegmentPlace { segment, segments, first_instruction: 10 * segment as u64, instructions: 10 },
        device_bytes: bytes(segment),
    };
    Plan {
        job: "job".into(),
        start: State::default(),
        segments: (0..segments).map(segment).collect(),
        aggregated,
        leaf_arity: Plan::LEAF_ARITY,
        internal_arity: Plan::INTERNAL_ARITY,
        node_bytes: 2,
    }
}

fn graph(segments: usize) -> Graph {
    Graph::new(&plan(segments, true, |_| 4)).unwrap()
}

/// How many tasks each level has.
fn levels(graph: &Graph) -> Vec<usize> {
    let top = graph.tasks().last().unwrap().level;
    (0..=top).map(|level| graph.tasks().filter(|task| task.level == level).count()).collect()
}

#[test]
fn levels_are_those_of_an_aggregation() {
    assert_eq!(levels(&graph(1)), [1, 1, 1, 1, 1]);
    assert_eq!(levels(&graph(4)), [4, 1, 1, 1, 1]);
    assert_eq!(levels(&graph(5)), [5, 2, 1, 1, 1]);
    assert_eq!(levels(&graph(36)), [36, 9, 3, 1, 1]);
    assert_eq!(levels(&graph(37)), [37, 10, 4, 2, 1, 1]);
    assert_eq!(levels(&Graph::new(&plan(7, false, |_| 1)).unwrap()), [7]);
    let graph = graph(37);
    let of_level = |level| graph.tasks().filter(move |task| task.level == level).map(|task| task.kind).next().unwrap();
    let kinds = (0..6).map(of_level).collect::<Vec<_>>();
    let (leaf, internal) = (TaskKind::Leaf, TaskKind::InternalForLeaf);
    let above = [TaskKind::InternalRecursive, TaskKind::InternalAgain, TaskKind::Wrap];
    assert_eq!(kinds, [&[TaskKind::Segment, leaf, internal][..], &above].concat());
}

#[test]
fn ids_are_those_of_inputs() {
    let (a, b) = (graph(37), graph(37));
    assert!(a.tasks().eq(b.tasks()));
    let ids: BTreeSet<_> = a.tasks().map(|task| &task.id).collect();
    assert_eq!(ids.len(), a.tasks().len());
    let first = a.tasks().next().unwrap();
    assert!(first.id.starts_with("segment/0/0/") && first.id.len() == "segment/0/0/".len() + 32, "{}", first.id);
    // another job, another start, another length: other tasks at all levels
    let mut others = [(); 3].map(|()| plan(37, true, |_| 4));
    others[0].job = "another".into();
    others[1].start.pc = 4;
    others[2].segments[36].place.instructions = 11;
    for (other, same) in others.iter().zip([0, 0, 36]) {
        let other = Graph::new(other).unwrap();
        assert_eq!(other.tasks().filter(|task| task.level == 0 && ids.contains(&task.id)).count(), same);
        assert!(!ids.contains(&other.tasks().last().unwrap().id));
    }
    // an id says who the children are
    let leaf = a.tasks().find(|task| task.kind == TaskKind::Leaf).unwrap();
    assert!(leaf.inputs.iter().all(|child| a.parent(child) == Some(leaf)) && leaf.inputs.len() == 4);
}

#[test]
fn a_task_is_small() {
    let bytes = graph(20_000).tasks().map(|task| serde_json::to_vec(task).unwrap().len()).max().unwrap();
    assert!(bytes < 1024, "{bytes}");
}

#[test]
fn a_node_is_ready_as_soon_as_its_children_are_there() {
    let mut graph = graph(9);
    let ids: Vec<_> = graph.tasks().map(|task| task.id.clone()).collect();
    assert_eq!(graph.ready().len(), 9);
    // the second leaf's segments first, backwards
    for segment in [7, 6, 5] {
        assert_eq!(graph.complete(&ids[segment]), Completion::First(vec![]));
    }
    assert_eq!(graph.complete(&ids[4]), Completion::First(vec![ids[10].clone()]));
    // before the segments that are left
    assert_eq!(graph.ready().iter().map(|task| &task.id).collect::<Vec<_>>(), [10, 0, 1, 2, 3, 8].map(|i| &ids[i]));
    assert_eq!(graph.take(u64::MAX).unwrap().id, ids[10]);
    assert_eq!(graph.take(u64::MAX).unwrap().id, ids[0]);
    assert_eq!((graph.complete(&ids[10]), graph.complete(&ids[10])), (Completion::First(vec![]), Completion::Repeated));
    assert_eq!(graph.complete("leaf/1/0/0"), Completion::Unknown);
    // given back, taken again
    graph.give_back(&ids[0]);
    graph.give_back(&ids[10]);
    assert_eq!((graph.take(u64::MAX).unwrap().id, graph.done()), (ids[0].clone(), 5));
}

#[test]
fn any_order_ends_with_all_tasks_done_once() {
    for seed in 1..40usize {
        let mut graph = graph(1 + seed * 3);
        let mut run = vec![];
        let mut under_way: Vec<Task> = vec![];
        for step in seed.. {
            if graph.is_done() {
                break;
            }
            while under_way.len() < 1 + seed % 7 {
                let Some(task) = graph.take(4) else { break };
                assert!(task.inputs.iter().all(|child| graph.has(child)));
                under_way.push(task);
            }
            let task = under_way.swap_remove(step * 7919 % under_way.len());
            if step % 5 == 0 {
                graph.give_back(&task.id);
                under_way.push(graph.take(4).unwrap());
                continue;
            }
            assert!(matches!(graph.complete(&task.id), Completion::First(_)));
            assert_eq!(graph.complete(&task.id), Completion::Repeated);
            run.push(task.id);
        }
        assert_eq!((run.len(), graph.done()), (graph.tasks().len(), graph.tasks().len()));
        assert!(graph.take(u64::MAX).is_none() && graph.ready().is_empty());
    }
}

#[test]
fn only_what_fits_is_taken() {
    let gib = |n: u64| n << 30;
    let sizes = [gib(15), gib(8), gib(8) + 1, gib(4), gib(8) - 1, gib(3)];
    let mut graph = Graph::new(&plan(sizes.len(), false, |i| sizes[i])).unwrap();
    assert!(graph.has_ready(|task| task.device_bytes == gib(3)) && !graph.has_ready(|task| task.device_bytes < gib(3)));
    let mut take = |memory| graph.take(memory).map(|task| task.index);
    assert_eq!((take(gib(2)), take(gib(4)), take(gib(8)), take(gib(8))), (None, Some(3), Some(1), Some(4)));
    assert_eq!((take(gib(8)), take(gib(8)), take(gib(24)), take(gib(24))), (Some(5), None, Some(0), Some(2)));
}

#[test]
fn sizes_grow_with_bytes() {
    let mut last = 0;
    for bytes in (0..4096).chain((12..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 2))])) {
        let size = size_of_memory(bytes);
        assert!(size >= last, "{bytes}");
        last = size;
    }
}

#[test]
fn a_result_that_is_refused_is_made_again() {
    let mut graph = graph(4);
    let ids: Vec<_> = graph.tasks().map(|task| task.id.clone()).collect();
    ids[..4].iter().for_each(|id| drop(graph.complete(id)));
    // while its parent is ready, while it runs, and while it waits
    graph.revoke(&ids[1]);
    assert_eq!(graph.ready().len(), 1);
    graph.complete(&ids[1]);
    assert_eq!(graph.take(8).unwrap().id, ids[4]);
    graph.revoke(&ids[2]);
    graph.revoke(&ids[3]);
    graph.give_back(&ids[4]);
    assert_eq!(
        (graph.take(8).unwrap().id, graph.take(8).unwrap().id, graph.take(8)),
        (ids[2].clone(), ids[3].clone(), None)
    );
    graph.complete(&ids[3]);
    assert_eq!(graph.complete(&ids[2]), Completion::First(vec![ids[4].clone()]));
    // what never was there
    graph.revoke(&ids[5]);
    graph.revoke("nothing");
    ids[4..].iter().for_each(|id| drop(graph.complete(id)));
    assert!(graph.is_done());
}

#[test]
fn what_is_no_plan_is_refused() {
    let changes: [fn(&mut Plan); 7] = [
        |plan| plan.segments.clear(),
        |plan| plan.segments.truncate(2),
        |plan| plan.segments[1].place.first_instruction = 11,
        |plan| plan.segments[2].place.instructions = 0,
        |plan| plan.segments[2].place.instructions = u64::MAX,
        |plan| plan.leaf_arity = 0,
        |plan| plan.internal_arity = 1,
    ];
    for change in changes {
        let mut changed = plan(3, true, |_| 1);
        change(&mut changed);
        assert!(Graph::new(&changed).is_err(), "{changed:?}");
    }
    let text = serde_json::to_string(&plan(3, true, |_| 1)).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan(3, true, |_| 1));
}
