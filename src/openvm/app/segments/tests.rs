//! What is proved while the execution is metered is what its task would prove.

use std::time::Duration;

use openvm_stark_backend::codec::Encode;

use super::*;
use crate::openvm::{
    app::tests::{input, prover_of_segments},
    kept::NothingKept,
};

/// Finds all segments, and then begins with them.
fn ahead<T>(prover: &AppProver, with: impl FnOnce(&Segments<'_>, usize) -> T) -> T {
    let input: Streams<F> = input().into();
    let (metered, progress) = (Metered::default(), |_: &SegmentReport| ());
    let segments = Segments::new(&NothingKept, &progress);
    let works = [SegmentWork::new(prover.execution(0, &input, &metered, &NothingKept), &segments)];
    thread::scope(|scope| {
        let _working = Working(&works);
        works[0].lanes.start(&works[0].execution, true, scope);
        prover.find_segments(input.clone(), |segment, _| metered.push(segment)).unwrap();
        let count = metered.all().iter().map(|_| segments.ahead.found()).last().unwrap();
        works[0].go_ahead(&prover.options, (2, 1), true, scope);
        with(&segments, count)
    })
}

#[test]
fn segments_that_are_made_ahead_are_the_same() {
    let mut prover = prover_of_segments();
    let made = ahead(&prover, |segments, count| -> Vec<_> {
        let wait = |segment| loop {
            match segments.ahead.take(segment) {
                Some(made) => return made,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        (0..count).map(wait).collect()
    });
    let expected = prover.prove(input()).unwrap();
    assert!(made.len() > 2 && made.len() == expected.per_segment.len());
    let (last, others) = made.split_last().unwrap();
    assert!(others.iter().all(|(_, made)| made.public_values.is_none()));
    let values = last.1.public_values.as_ref().unwrap();
    assert_eq!(values.public_values, expected.user_public_values.public_values);
    for (segment, ((report, made), expected)) in made.iter().zip(&expected.per_segment).enumerate() {
        assert_eq!(report.segment, segment);
        let bytes = |proof: &Proof<SC>| proof.encode_to_vec().unwrap();
        assert!(bytes(&made.proof) == bytes(expected), "segment {segment}");
    }
}

/// A guest that fails after its first segments has begun with these for nothing, but nobody waits for ever.
#[test]
fn what_has_begun_for_nothing_ends() {
    let prover = prover_of_segments();
    assert!(ahead(&prover, |_, count| count) > 2);
}
