//! The chips of SHA-256 and SHA-512 (`wgsl/openvm/sha2`): one for the instructions, and one for the rounds, which has no records of its
//! own.

mod sha256;
mod sha512;

pub(super) use self::{sha256::SHA256, sha512::SHA512};

use openvm_sha2_circuit::{Sha2Config, Sha2RecordHeader};

use super::Layout;

/// A record: its head, the message, the states before and behind, when each word of the message and of the state was read, and for each
/// that is written when it was and what was there.
const fn layout<C: Sha2Config>() -> Layout {
    Layout::Ring { bytes: size_of::<Sha2RecordHeader>() + 2 * C::BLOCK_BYTES + 5 * C::STATE_BYTES }
}
