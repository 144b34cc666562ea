//! What the guests compute that needs no instruction of an extension, or gets it as a function: a host includes these very files to know the
//! public values beforehand. `no_std`.

pub mod arithmetic;
pub mod checksum;
pub mod hashing;
pub mod interpreter;
pub mod sorting;
pub mod wide;
