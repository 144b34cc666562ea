//! The guests of `examples/guest`: programs for OpenVM's machine, each with the VM that it needs.

pub struct Guest {
    pub name: &'static str,
    pub elf: &'static [u8],
    /// The `openvm.toml` of its VM.
    pub config: &'static str,
    /// The first item of its input where none is asked for.
    pub size: u64,
    /// Bytes that it reads as the second item of its input.
    pub reads_message: bool,
}

macro_rules! guest {
    ($name:literal, $size:literal) => {
        Guest {
            name: $name,
            elf: include_bytes!(concat!("../guest/", $name, ".elf")),
            config: include_str!(concat!("../guest/", $name, ".toml")),
            size: $size,
            reads_message: false,
        }
    };
}

/// The first one is proved when none is named.
pub const GUESTS: [Guest; 10] = [
    Guest { reads_message: true, ..guest!("hash_chain", 10) },
    guest!("arithmetic", 15),
    guest!("sorting", 100),
    guest!("keccak", 50),
    guest!("sha2", 20),
    guest!("interpreter", 50),
    guest!("bigint", 100),
    guest!("ecdsa", 1),
    guest!("pairing", 1),
    guest!("extensions", 1),
];

pub fn guest(name: &str) -> Option<&'static Guest> {
    GUESTS.iter().find(|guest| guest.name == name)
}
