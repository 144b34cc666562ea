use openvm_stark_backend::FiatShamirTranscript;
use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, DuplexSponge};
use p3_field::Field;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{gpu::testing, kernels::transcript::gather};

fn sponges_agree(a: &DuplexSponge, b: &DuplexSponge) {
    assert_eq!(a.state(), b.state());
    assert_eq!((a.absorb_idx(), a.sample_idx()), (b.absorb_idx(), b.sample_idx()));
}

#[test]
fn observations_and_samples_of_all_lengths_match_the_host() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(5);
    let values: Vec<F> = (0..20_200).map(|_| F::from_u32(rng.random())).collect();
    let buffer = gpu.upload(&values, "values").unwrap();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    let mut rec = gpu.recorder("test");
    let mut samples = vec![];
    for len in [1, 0, 3, 8, 5, 16, 17, 7, 0, 2, 100, 20_001] {
        for count in [0, 1, 4, 9, 8, 20] {
            let start = rng.random_range(0..100);
            let observed = tx.observe(&mut rec, &buffer, start..start + len).unwrap();
            values[start..start + len].iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
            let sampled = tx.sample_words(&mut rec, count).unwrap();
            let words: Vec<F> = (0..count).map(|_| FiatShamirTranscript::<SC>::sample(&mut expected)).collect();
            samples.push((observed, start, sampled, words));
        }
    }
    tx.sync(rec).unwrap();
    for (observed, start, sampled, words) in samples {
        assert_eq!(tx.values(&observed), values[start..start + observed.len()]);
        assert_eq!(tx.values(&sampled), words);
    }
    tx.finish().unwrap();
    sponges_agree(&host, &expected);
}

#[test]
fn long_observations_are_absorbed_to_their_end() {
    let gpu = testing::gpu();
    let values: Vec<F> = (0..50_001).map(F::from_u32).collect();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    let mut rec = gpu.recorder("test");
    let observed = tx.observe_values(&mut rec, &values).unwrap();
    tx.sync(rec).unwrap();
    values.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
    assert_eq!(tx.values(&observed), values);
    tx.finish().unwrap();
    sponges_agree(&host, &expected);
}

#[test]
fn the_host_may_observe_between_recordings() {
    let gpu = testing::gpu();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let values: Vec<EF> = (0..101).map(EF::from_u32).collect();
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    for len in [0, 1, 2, 5, 101] {
        tx.observe_on_host(&values[..len]).unwrap();
        let mut rec = gpu.recorder("test");
        let sampled = tx.sample_ext(&mut rec).unwrap();
        let observed = tx.observe_values(&mut rec, &values[..3]).unwrap();
        tx.sync(rec).unwrap();
        values[..len].iter().for_each(|v| FiatShamirTranscript::<SC>::observe_ext(&mut expected, *v));
        assert_eq!(tx.challenge(&sampled), FiatShamirTranscript::<SC>::sample_ext(&mut expected));
        values[..3].iter().for_each(|v| FiatShamirTranscript::<SC>::observe_ext(&mut expected, *v));
        assert_eq!(tx.values(&observed), values[..3]);
    }
    tx.finish().unwrap();
    sponges_agree(&host, &expected);
}

#[test]
fn extension_challenges_and_gathering() {
    let gpu = testing::gpu();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    let mut rec = gpu.recorder("test");
    let values = [EF::from_u32(3), EF::NEG_ONE];
    let first = tx.sample_ext(&mut rec).unwrap();
    tx.observe_values(&mut rec, &values).unwrap();
    let buffer = gpu.upload(&values, "values").unwrap();
    let (seen, second) = tx.observe_then_sample(&mut rec, &buffer, 1..2).unwrap();
    let gathered = gather(&mut rec, &[second.clone(), first.clone(), second.clone(), seen.at(0)]).unwrap();
    let ticket = rec.download(&gathered);
    let done = tx.sync(rec).unwrap();
    let a: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
    for v in [values[0], values[1], values[1]] {
        FiatShamirTranscript::<SC>::observe_ext(&mut expected, v);
    }
    let b: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
    assert_eq!((tx.challenge(&first), tx.challenge(&second)), (a, b));
    assert_eq!(tx.values(&seen), [values[1]]);
    assert_eq!(done.take(ticket).unwrap(), [b, a, b, values[1]]);
}

/// Follows a proof of work and what is sampled behind it.
fn expect_work(expected: &mut DuplexSponge, bits: usize, witness: F, sampled: &[F]) {
    let passes = |w: &F| bits == 0 || FiatShamirTranscript::<SC>::check_witness(&mut expected.clone(), bits, *w);
    let smallest = (0..).map(F::from_u32).find(passes).unwrap();
    assert_eq!(witness, smallest);
    assert!(FiatShamirTranscript::<SC>::check_witness(expected, bits, smallest));
    for word in sampled {
        assert_eq!(*word, FiatShamirTranscript::<SC>::sample(expected));
    }
}

#[test]
fn grinding_finds_the_smallest_witness() {
    let gpu = testing::gpu();
    for (absorbed, bits) in [(0, 0), (0, 1), (3, 5), (7, 8), (6, 11)] {
        let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        let mut rec = gpu.recorder("test");
        let values: Vec<F> = (0..absorbed).map(F::from_u32).collect();
        tx.observe_values(&mut rec, &values).unwrap();
        values.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
        let (witness, sampled) = tx.grind_then_sample(&mut rec, bits, absorbed as usize).unwrap();
        tx.sync(rec).unwrap();
        expect_work(&mut expected, bits, tx.witness(&witness), &tx.values(&sampled));
        tx.finish().unwrap();
        sponges_agree(&host, &expected);
    }
}

#[test]
fn an_observation_a_witness_and_samples_follow_each_other() {
    let gpu = testing::gpu();
    let values: Vec<EF> = (1..10).map(|i| EF::from_u32(i).inverse()).collect();
    let buffer = gpu.upload(&values, "values").unwrap();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    // the last three are not for one workgroup
    for (absorbed, observed, bits, count) in [
        (0, 2, 5, 4),
        (3, 2, 5, 4),
        (7, 0, 1, 0),
        (6, 1, 8, 7),
        (1, 5, 3, 1),
        (5, 2, 0, 4),
        (2, 2, 9, 4),
        (4, 6, 5, 4),
        (4, 2, 5, 12),
    ] {
        let mut rec = gpu.recorder("test");
        let first: Vec<F> = (0..absorbed).map(F::from_u32).collect();
        tx.observe_values(&mut rec, &first).unwrap();
        first.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
        let range = 2..2 + observed;
        let (seen, witness, sampled) =
            tx.observe_grind_then_sample(&mut rec, (&buffer, range.clone()), bits, count).unwrap();
        values[range.clone()].iter().for_each(|v| FiatShamirTranscript::<SC>::observe_ext(&mut expected, *v));
        tx.sync(rec).unwrap();
        assert_eq!(tx.values(&seen), values[range]);
        expect_work(&mut expected, bits, tx.witness(&witness), &tx.values(&sampled));
        assert_eq!(tx.values(&sampled).len(), count);
    }
    tx.finish().unwrap();
    sponges_agree(&host, &expected);
}

#[test]
fn what_was_handed_over_is_received_in_parts() {
    let gpu = testing::gpu();
    let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
    let mut tx = Transcript::new(&gpu, &mut host).unwrap();
    let mut part = |tx: &mut Transcript<'_>, count: u32| {
        let values: Vec<F> = (0..count).map(F::from_u32).collect();
        let mut rec = gpu.recorder("test");
        let observed = tx.observe_values(&mut rec, &values).unwrap();
        let sampled = tx.sample_ext(&mut rec).unwrap();
        values.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
        let challenge: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
        (tx.hand_over(rec).unwrap(), (observed, values), (sampled, challenge))
    };
    let (first, observed, sampled) = part(&mut tx, 5);
    let (second, later, _) = part(&mut tx, 20);
    tx.receive(first).unwrap();
    assert_eq!((tx.values(&observed.0), tx.challenge(&sampled.0)), (observed.1, sampled.1));
    tx.replay().unwrap();
    let (third, _, last) = part(&mut tx, 3);
    tx.receive(second).unwrap();
    assert_eq!(tx.values(&later.0), later.1);
    tx.receive(third).unwrap();
    assert_eq!(tx.challenge(&last.0), last.1);
    tx.finish().unwrap();
    sponges_agree(&host, &expected);
}
