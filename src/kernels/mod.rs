//! One typed launcher per kernel; folders mirror those of `wgsl/`, and a launcher names its WGSL file.

pub mod constraints;
pub mod eq;
#[cfg(test)]
mod field;
pub mod gkr;
pub mod merkle;
pub mod ntt;
pub(crate) mod openings;
#[cfg(feature = "openvm")]
pub mod openvm;
pub mod pack;
pub mod poseidon2;
pub mod powers;
pub mod rap;
pub mod stacked_reduction;
pub mod sum_rows;
pub mod transcript;
pub mod transpose;
pub mod whir;

/// Largest univariate skip: a workgroup holds the 2^l_skip values of a chunk, of base or extension elements, in its memory. Kernels that
/// rely on it assert it next to the size of their memory; upstream's parameters stay below.
pub const MAX_L_SKIP: usize = 9;

/// The value of `const NAME: u32 = ..u;` in the text of a kernel or module, for what the host knows by the same name.
#[cfg(test)]
pub(crate) fn wgsl_constant(text: &str, name: &str) -> u32 {
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("const {name}: u32 = "))?.strip_suffix("u;"));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no constant {name}"))
}
