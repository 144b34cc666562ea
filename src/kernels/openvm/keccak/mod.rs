//! The chips of the keccak extension (`wgsl/openvm/keccak`).

mod keccakf_op;
mod keccakf_perm;
mod xorin;

pub(super) use self::{keccakf_op::KECCAKF_OP, xorin::XORIN};
