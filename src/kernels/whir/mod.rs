//! Kernels of the WHIR opening proof (`wgsl/whir/*`); the algebra is explained in `stages/whir`.

pub mod batch;
pub mod dots;
pub mod fold;
pub mod round;
pub mod rows;
