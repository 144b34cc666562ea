use openvm_recursion_circuit::batch_constraint::commit_child_vk;
use openvm_stark_backend::{
    p3_matrix::{dense::RowMajorMatrix, Matrix},
    test_utils::{
        test_system_params_small, CachedFixture11, FibFixture, InteractionsFixture11, PreprocessedAndCachedFixture,
        TestFixture,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    default_duplex_sponge_recorder, BabyBearPoseidon2CpuEngine, DuplexSponge,
};

use super::*;
use crate::gpu::testing;

const MOST: usize = 4;

/// AIRs whose rows come in another order each time, so many at once: upstream takes them from a hash map, and from requests of several threads.
const UNORDERED: [(&str, usize); 2] = [("EqBitsAir", 1), ("ExpBitsLenAir", 32)];

/// Traces of a circuit that verifies `count` proofs of a fixture, here and by upstream, equal cell by cell.
fn check<Fx: TestFixture<SC>>(params: (usize, usize, usize), fixture: Fx, count: usize) {
    let params = test_system_params_small(params.0, params.1, params.2);
    let engine = BabyBearPoseidon2CpuEngine::<DuplexSponge>::new(params);
    let (vk, proof) = fixture.keygen_and_prove(&engine);
    let proofs = vec![proof; count];
    let here = DeviceVerifier::<MOST>::new(Arc::new(vk.clone()), VerifierConfig::default());
    let cached: CommittedTraceData<HostBackend> = commit_child_vk(&engine, &vk, true);
    let sponge = default_duplex_sponge_recorder();
    let expected = VerifierTraceGen::<HostBackend, SC, ()>::generate_proving_ctxs_base(
        &here.circuit,
        &vk,
        CachedTraceCtx::PcsData(cached),
        &proofs,
        &(),
        sponge.clone(),
    );
    let preflights: Vec<_> = proofs.iter().map(|proof| here.preflight(sponge.clone(), &vk, proof)).collect();
    let heights: Vec<usize> = expected.iter().map(|context| context.common_main.height()).collect();
    // by themselves, as high as they have to be, and one row short
    let verified = Verified { child_vk: &vk, proofs: &proofs, preflights: &preflights };
    for (heights, fits) in [(None, true), (Some(heights.clone()), true), (Some(shorter(heights)), false)] {
        let external = VerifierExternalData {
            poseidon2_compress_inputs: &vec![],
            poseidon2_permute_inputs: &vec![],
            range_check_inputs: &vec![],
            power_check_inputs: &vec![],
            required_heights: heights.as_deref(),
            final_transcript_state: None,
        };
        let gpu = testing::gpu();
        let finish =
            |_, traces: Vec<Trace>| -> HostContexts { traces.into_iter().map(|trace| on_host(trace, &gpu)).collect() };
        let made = here.traces(verified, None, &external, finish);
        assert_eq!(made.is_some(), fits);
        let Some(made) = made else { continue };
        let made: HostContexts = made.into_iter().flatten().collect();
        assert_eq!(made.len(), expected.len());
        for ((made, expected), air) in made.iter().zip(&expected).zip(here.airs::<SC>()) {
            let name = air.name();
            assert_eq!(made.public_values, expected.public_values, "{name}");
            assert_eq!(made.common_main.width, expected.common_main.width, "{name}");
            assert!(rows(made, &name) == rows(expected, &name), "{name}");
        }
    }
}

/// The trace, made if that is the device's.
fn on_host(trace: Trace, gpu: &Gpu) -> AirProvingContext<HostBackend> {
    match trace {
        Trace::Host(context) => context,
        Trace::Permutations(permutations) => {
            let columns = permutations.trace(gpu).download(gpu).unwrap();
            AirProvingContext::simple_no_pis(RowMajorMatrix::new(columns, permutations.height).transpose())
        }
    }
}

fn rows<'a>(context: &'a AirProvingContext<HostBackend>, name: &str) -> Vec<&'a [F]> {
    let unordered = UNORDERED.iter().find(|(unordered, _)| *unordered == name);
    let at_once = unordered.map_or(1, |(_, rows)| *rows);
    let mut rows: Vec<_> = context.common_main.values.chunks(at_once * context.common_main.width).collect();
    if unordered.is_some() {
        rows.sort();
    }
    rows
}

/// The heights with that of the Merkle paths halved.
fn shorter(mut heights: Vec<usize>) -> Vec<usize> {
    let highest = heights.iter().enumerate().max_by_key(|(_, height)| **height).expect("a circuit has AIRs").0;
    heights[highest] /= 2;
    heights
}

#[test]
fn traces_are_upstreams() {
    check((2, 8, 3), FibFixture::new(0, 1, 1 << 5), 1);
    check((3, 5, 3), FibFixture::new(0, 1, 1), 2);
    check((2, 8, 3), InteractionsFixture11, MOST);
}

#[test]
fn traces_of_several_commitments_are_upstreams() {
    let config = || SC::default_from_params(test_system_params_small(2, 8, 3));
    check((2, 8, 3), CachedFixture11::new(config()), 3);
    let sels: Vec<bool> = (0..1 << 5).map(|row| row % 3 == 0).collect();
    check((2, 8, 3), PreprocessedAndCachedFixture::new(sels, config(), 4), 1);
}
