//! The memory's traces against those of upstream's chips.

use openvm_circuit::{
    arch::{
        vm_poseidon2_config, AirInventory, ChipInventory, MatrixRecordArena, MemoryConfig, SystemConfig, VmBuilder,
        VmCircuitConfig, DEFAULT_BLOCK_SIZE,
    },
    system::{
        memory::{
            online::{AddressMap, LinearMemory},
            TimestampedValues,
        },
        SystemCpuBuilder, TouchedMemory,
    },
};
use p3_field::PrimeCharacteristicRing;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{
    super::{guest_memory::extend_to_touched, HostEngine},
    tree::Digest,
    *,
};
use crate::gpu::testing;

const DEGREE: usize = 3;

struct Upstream {
    system: SystemChipInventory<SC>,
    chips: ChipInventory<SC, MatrixRecordArena<F>, HostBackend>,
}

impl Upstream {
    fn new() -> Self {
        let config = SystemConfig { max_constraint_degree: DEGREE, ..SystemConfig::default() };
        let airs: AirInventory<SC> = config.create_airs().unwrap();
        let machine = VmBuilder::<HostEngine>::create_chip_complex(&SystemCpuBuilder, &config, airs, &()).unwrap();
        Self { system: machine.system, chips: machine.inventory }
    }

    fn hasher(&self) -> &Poseidon2PeripheryChip<F> {
        let found: Option<&Arc<Poseidon2PeripheryChip<F>>> =
            self.chips.chips().iter().find_map(|chip| chip.as_any().downcast_ref());
        found.expect("a machine hashes")
    }

    /// Contexts of the boundary, the Merkle and the Poseidon2 AIR.
    fn generate(&mut self, initial: AddressMap, touched: TouchedMemory<F>) -> HostContexts {
        self.system.memory_controller.interface_chip.initial_memory = initial;
        let mut contexts = self.system.memory_controller.generate_proving_ctx(touched);
        contexts.push(Chip::<(), HostBackend>::generate_proving_ctx(self.hasher(), ()));
        contexts
    }

    fn top_tree(&self) -> Option<&[Digest]> {
        SystemChipComplex::<MatrixRecordArena<F>, HostBackend>::memory_top_tree(&self.system)
    }
}

fn rows(context: &AirProvingContext<HostBackend>) -> Vec<&[F]> {
    context.common_main.values.chunks(context.common_main.width).collect()
}

/// Compares the contexts of segments that begin with the memories and touch these blocks.
fn assert_equals_upstream(segments: Vec<(GuestMemory, TouchedMemory<F>)>) {
    let mut upstream = Upstream::new();
    let mut chips = MemoryChips::default();
    let chip = Poseidon2PeripheryChip::new(vm_poseidon2_config(), DEGREE);
    let gpu = testing::gpu();
    let dimensions = upstream.system.memory_controller.memory_config().memory_dimensions();
    for (segment, (initial, touched)) in segments.into_iter().enumerate() {
        let mut extended = copy_used(&initial);
        extend_to_touched(&mut extended, &touched);
        let found = chips.generate(dimensions, initial.memory, &touched);
        let permutations = poseidon2::permutations(&chip, found.requests);
        let columns = permutations.trace(&gpu).download(&gpu).unwrap();
        let poseidon2 = RowMajorMatrix::new(columns, permutations.height.max(1)).transpose();
        let expected = upstream.generate(extended.memory, touched);
        for (found, expected) in [&found.boundary, &found.merkle].into_iter().zip(&expected) {
            assert!(found.common_main == expected.common_main, "segment {segment}");
            assert_eq!(found.public_values, expected.public_values);
        }
        assert_eq!(chips.top_tree(), upstream.top_tree());
        let (found, mut expected): (Vec<_>, _) = (poseidon2.row_slices().collect(), rows(&expected[2]));
        // upstream's are in no order, with the rows that pad at the end
        let mut sorted = found.clone();
        sorted.sort();
        expected.sort();
        assert!(sorted == expected, "segment {segment}");
    }
}

fn memory() -> GuestMemory {
    GuestMemory::new(AddressMap::from_mem_config(&MemoryConfig::default()))
}

/// Touches `count` blocks of the first 2^`bits` bytes of each address space that has bytes, and writes to most of them.
fn touch(rng: &mut StdRng, memory: &mut GuestMemory, bits: u32, count: usize) -> TouchedMemory<F> {
    let mut touched = vec![];
    for space in 1..4 {
        let size = memory.memory.mem[space].size().min(1 << bits);
        let mut pointers: Vec<usize> =
            (0..count).map(|_| rng.random_range(0..size / DEFAULT_BLOCK_SIZE) * DEFAULT_BLOCK_SIZE).collect();
        pointers.sort();
        pointers.dedup();
        for pointer in pointers {
            let bytes = &mut memory.memory.mem[space].as_mut_slice()[pointer..][..DEFAULT_BLOCK_SIZE];
            if rng.random_bool(0.7) {
                rng.fill(bytes);
            }
            let values = std::array::from_fn(|i| F::from_u8(bytes[i]));
            touched.push((
                (space as u32, pointer as u32),
                TimestampedValues { timestamp: rng.random_range(1..1 << 29), values },
            ));
        }
    }
    touched
}

#[test]
fn segments_equal_upstreams() {
    let mut rng = StdRng::seed_from_u64(15);
    let mut memory = memory();
    let mut segments = vec![];
    for (bits, count) in [(12, 40), (20, 300), (9, 200), (22, 50)] {
        let initial = copy_used(&memory);
        let touched = touch(&mut rng, &mut memory, bits, count);
        segments.push((initial, touched));
        // another lane's segment
        touch(&mut rng, &mut memory, 16, 20);
    }
    // nothing is left
    memory.memory.mem[2].as_mut_slice()[..1 << 23].fill(0);
    let initial = copy_used(&memory);
    let touched = touch(&mut rng, &mut memory, 12, 3);
    segments.push((initial, touched));
    assert_equals_upstream(segments);
}

#[test]
fn segments_that_touch_nothing_equal_upstreams() {
    let mut written = memory();
    written.memory.mem[2].as_mut_slice()[5] = 7;
    assert_equals_upstream(vec![(copy_used(&memory()), vec![]), (copy_used(&written), vec![])]);
}
