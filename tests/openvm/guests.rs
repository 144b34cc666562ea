//! The guests of `examples/guest`: each runs under upstream's interpreter for as many instructions as their README says, and reveals what a host
//! computes with other implementations of what extensions do.

#[path = "../../examples/support/guests.rs"]
#[allow(dead_code)] // sizes by default
mod table;
#[path = "../../examples/guest/programs/src/work/mod.rs"]
mod work;

use halo2curves_axiom::{bn256, ff::PrimeField, group::Curve, secp256k1, CurveAffine};
use num_bigint::BigUint;
use openvm_circuit::{
    arch::{execution_mode::MeteredCostCtx, instructions::exe::VmExe, VmExecutor},
    system::memory::merkle::public_values::extract_public_values,
};
use openvm_sdk::StdIn;
use openvm_sdk_config::{SdkVmConfig, TranspilerConfig};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use openvm_transpiler::FromElf;
use openvm_wgpu_backend::openvm::decode_elf;
use sha2::{Digest, Sha256, Sha512};

use self::work::{
    arithmetic::arithmetic,
    checksum::{Checksum, Random},
    hashing::{stretch, tree},
    interpreter::interpreter,
    sorting::sorting,
    wide::{wide, Wide},
};
use super::keccak256;

/// Instructions beyond which a run is left to the README's readers.
const MOST: u64 = 12_000_000;

#[test]
fn guests_reveal_what_a_host_computes() {
    let mut names = vec!["hash_chain".to_string()];
    for (name, size, instructions) in rows().into_iter().filter(|(.., instructions)| *instructions <= MOST) {
        let (values, executed) = run(&name, size);
        assert_eq!(executed, instructions, "instructions of {name}, size {size}, are not the README's");
        assert_eq!(values, expected(&name, size), "{name}, size {size}");
        names.push(name);
    }
    assert!(
        table::GUESTS.iter().all(|guest| names.iter().any(|name| name == guest.name)),
        "the README has sizes of {names:?} alone"
    );
}

/// The rows of the guests' README that name a guest, a size and how many instructions that takes.
fn rows() -> Vec<(String, u64, u64)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/guest/README.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[name, size, instructions] = cells.as_slice() else { return None };
        let number = |cell: &str| cell.replace(',', "").parse().ok();
        Some((name.trim_matches('`').to_string(), number(size)?, number(instructions)?))
    };
    readme.lines().filter_map(row).collect()
}

/// Public values, and how many instructions it took.
fn run(name: &str, size: u64) -> ([u8; 32], u64) {
    let guest = table::guest(name).unwrap();
    let config = SdkVmConfig::from_toml(guest.config).unwrap();
    let exe = VmExe::from_elf(decode_elf(guest.elf).unwrap(), config.transpiler()).unwrap();
    let mut input = StdIn::default();
    input.write(&size);
    let public_values = config.as_ref().num_public_values;
    let executor = VmExecutor::<F, _>::new(config).unwrap();
    // what cells cost does not matter here: an AIR without columns stands for all, and one behind it for those that come in pairs
    let instance = executor.metered_cost_instance(&exe, &[0; 1_000]).unwrap();
    let (context, state) = instance.execute_metered_cost(input, MeteredCostCtx::new(vec![0; 2])).unwrap();
    (extract_public_values(public_values, &state.memory.memory)[..32].try_into().unwrap(), context.instret)
}

fn expected(name: &str, size: u64) -> [u8; 32] {
    match name {
        "arithmetic" => arithmetic(size),
        "sorting" => sorting(size),
        "interpreter" => interpreter(size),
        "keccak" => tree(size, keccak256),
        "sha2" => stretch(size, sha256, sha512),
        "bigint" => wide::<HostWide>(size),
        "ecdsa" => summed(|checksum| ecdsa(size, checksum)),
        "pairing" => summed(|checksum| pairings(size, checksum)),
        "extensions" => summed(|checksum| extensions(size, checksum)),
        _ => panic!("no such guest: {name}"),
    }
}

fn summed(add: impl FnOnce(&mut Checksum)) -> [u8; 32] {
    let mut checksum = Checksum::new();
    add(&mut checksum);
    checksum.bytes()
}

fn extensions(size: u64, checksum: &mut Checksum) {
    pairings(size, checksum);
    ecdsa(size, checksum);
    checksum.add_bytes(&wide::<HostWide>(1_000 * size));
    checksum.add_bytes(&tree(100 * size, keccak256));
    checksum.add_bytes(&stretch(100 * size, sha256, sha512));
    checksum.add_bytes(&arithmetic(20 * size));
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn sha512(bytes: &[u8]) -> [u8; 64] {
    Sha512::digest(bytes).into()
}

/// Signatures of the messages that the guest signs.
fn ecdsa(size: u64, checksum: &mut Checksum) {
    use secp256k1::{Fq, Secp256k1Affine};
    let scalar = |bytes| Fq::from_repr(bytes).unwrap();
    let multiple = |factor: Fq| {
        let point = (Secp256k1Affine::generator() * factor).to_affine().coordinates().unwrap();
        (point.x().to_repr(), point.y().to_repr())
    };
    let mut random = Random::new(8);
    for _ in 0..size {
        let [key, nonce, message] = [(); 3].map(|()| scalar(random.number()));
        let (x, y) = multiple(key);
        let r = scalar(multiple(nonce).0);
        let s = (message + r * key) * nonce.invert().unwrap();
        for bytes in [x, y, r.to_repr(), s.to_repr()] {
            checksum.add_bytes(&bytes);
        }
    }
}

/// The points whose pairings the guest checks.
fn pairings(size: u64, checksum: &mut Checksum) {
    use bn256::{Fr, G1Affine, G2Affine};
    let mut random = Random::new(9);
    for _ in 0..size {
        let factor = Fr::from(u64::from(random.word() | 1));
        let in_1 = (G1Affine::generator() * factor).to_affine();
        let in_2 = (G2Affine::generator() * factor).to_affine();
        for coordinate in [in_1.x, in_1.y, in_2.x.c0, in_2.x.c1, in_2.y.c0, in_2.y.c1] {
            checksum.add_bytes(&coordinate.to_repr());
        }
    }
}

/// A 256-bit integer without instructions for it.
#[derive(Clone, PartialEq, PartialOrd)]
struct HostWide(BigUint);

impl HostWide {
    /// The lowest 256 bits.
    fn wrapped(number: BigUint) -> Self {
        Self(number & ((BigUint::from(1u8) << 256) - 1u8))
    }

    /// By how many bits a shift by this number shifts.
    fn distance(&self) -> u8 {
        self.to_le_bytes()[0]
    }
}

impl Wide for HostWide {
    fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(BigUint::from_bytes_le(&bytes))
    }
    fn to_le_bytes(&self) -> [u8; 32] {
        let mut bytes = self.0.to_bytes_le();
        bytes.resize(32, 0);
        bytes.try_into().unwrap()
    }
    fn add(&self, other: &Self) -> Self {
        Self::wrapped(&self.0 + &other.0)
    }
    fn sub(&self, other: &Self) -> Self {
        Self::wrapped((BigUint::from(1u8) << 256) + &self.0 - &other.0)
    }
    fn mul(&self, other: &Self) -> Self {
        Self::wrapped(&self.0 * &other.0)
    }
    fn xor(&self, other: &Self) -> Self {
        Self(&self.0 ^ &other.0)
    }
    fn and(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }
    fn or(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }
    fn shl(&self, other: &Self) -> Self {
        Self::wrapped(&self.0 << other.distance())
    }
    fn shr(&self, other: &Self) -> Self {
        Self(&self.0 >> other.distance())
    }
    fn sar(&self, other: &Self) -> Self {
        // with 256 more bits above, equal to the highest
        let sign = if self.0.bit(255) { (BigUint::from(1u8) << 256) - 1u8 } else { BigUint::ZERO };
        Self::wrapped(((sign << 256) + &self.0) >> other.distance())
    }
    fn equals(&self, other: &Self) -> bool {
        self == other
    }
    fn is_less_than(&self, other: &Self) -> bool {
        self < other
    }
}
