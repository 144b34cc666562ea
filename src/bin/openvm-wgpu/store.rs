//! Proofs of segments and nodes, kept beside the proof that is being made, so that the same command goes on where it was.
//!
//! A file's name is the SHA-256 of what its proof says: the key that verifies it, the program, the input and the instructions, or the
//! proofs that a node verifies. Its content begins with a line that names the form and the SHA-256 of the rest. Whatever is read is checked: the
//! hash, and the proof against its key. What fails is deleted and made again.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        Mutex,
    },
};

use openvm_circuit::system::memory::{merkle::public_values::UserPublicValuesProof, CHUNK};
use openvm_sdk::{StdIn, F, SC};
use openvm_stark_backend::{
    codec::{Decode, Encode},
    keygen::types::MultiStarkVerifyingKey,
    p3_field::PrimeField32,
    proof::Proof,
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2CpuEngine, Digest};
use openvm_wgpu_backend::openvm::{KeptProofs, SegmentPlace};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::{Failure, Result},
    stop::Stop,
};

/// The form of the files.
const MAGIC: &[u8; 16] = b"openvm-wgpu-1\n\0\0";

type Begun<'a> = dyn Fn(&[SegmentPlace]) + Sync + 'a;

/// A folder of proofs of one program on one input.
pub struct Store<'a> {
    folder: PathBuf,
    /// Hash of program, key and input.
    statement: Sha256,
    vk: &'a MultiStarkVerifyingKey<SC>,
    stop: &'a Stop,
    /// Called when the segments are known.
    begun: Box<Begun<'a>>,
    taken: AtomicUsize,
    /// Why something could not be kept, which is no reason to stop.
    trouble: Mutex<Option<String>>,
}

impl<'a> Store<'a> {
    /// Opens the folder beside `proof`, which need not be there.
    pub fn open(
        proof: &Path,
        vk: &'a MultiStarkVerifyingKey<SC>,
        (exe_commit, input): (Digest, &StdIn),
        stop: &'a Stop,
        begun: impl Fn(&[SegmentPlace]) + Sync + 'a,
    ) -> Result<Self> {
        let folder = Self::folder_of(proof);
        fs::create_dir_all(&folder)
            .map_err(|error| Failure::io(format!("cannot make {}", folder.display()), &error))?;
        let mut statement = Sha256::new();
        hash_key(&mut statement, vk);
        hash_elements(&mut statement, &exe_commit);
        for item in &input.buffer {
            hash_elements(&mut statement, item);
        }
        let (taken, trouble, begun) = (AtomicUsize::new(0), Mutex::new(None), Box::new(begun));
        Ok(Self { folder, statement, vk, stop, begun, taken, trouble })
    }

    /// `guest.parts` for `guest.app.proof` and `guest.stark.proof`: both begin with the same segments.
    pub fn folder_of(proof: &Path) -> PathBuf {
        let name = proof.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".proof").unwrap_or(&name);
        let name = [".app", ".stark"].iter().find_map(|kind| name.strip_suffix(kind)).unwrap_or(name);
        proof.with_file_name(format!("{name}.parts"))
    }

    /// How many proofs were there.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Why something could not be kept.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Deletes what is kept.
    pub fn clear(&self) {
        // whoever deletes it first is welcome
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// The file of what a hash stands for.
    fn file(&self, kind: &str, hash: Sha256) -> PathBuf {
        self.folder.join(format!("{kind}-{}", hex(&hash.finalize())))
    }

    fn segment_file(&self, place: &SegmentPlace) -> PathBuf {
        let mut hash = self.statement.clone();
        hash.update(place.first_instruction.to_le_bytes());
        hash.update(place.instructions.to_le_bytes());
        self.file("segment", hash)
    }

    fn values_file(&self) -> PathBuf {
        self.file("public-values", self.statement.clone())
    }

    fn node_file(&self, level: &str, vk: &MultiStarkVerifyingKey<SC>, children: &[Proof<SC>]) -> Option<PathBuf> {
        let mut hash = Sha256::new();
        hash_key(&mut hash, vk);
        hash.update(level);
        for child in children {
            hash.update(Sha256::digest(child.encode_to_vec().ok()?));
        }
        Some(self.file("node", hash))
    }

    /// What is kept in a file, if it `holds`; what does not is deleted.
    fn take<T>(&self, path: &Path, holds: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let bytes = fs::read(path).ok()?;
        let found = content(&bytes).and_then(holds);
        match found {
            Some(_) => self.taken.fetch_add(1, Ordering::Relaxed),
            None => {
                // it would only be found broken again
                let _ = fs::remove_file(path);
                0
            }
        };
        found
    }

    fn keep(&self, path: &Path, encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let mut bytes = vec![];
        if let Err(error) = encode(&mut bytes).and_then(|()| write_whole(path, &bytes)) {
            let trouble = format!("cannot keep {}: {error}", path.display());
            *self.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(trouble);
        }
    }
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        // fails, as it should, where something is kept
        let _ = fs::remove_dir(&self.folder);
    }
}

impl KeptProofs for Store<'_> {
    fn is_empty(&self) -> bool {
        fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_none())
    }

    fn begin(&self, segments: &[SegmentPlace]) {
        (self.begun)(segments);
    }

    fn segment(&self, place: &SegmentPlace) -> Option<Proof<SC>> {
        self.take(&self.segment_file(place), |bytes| verified(self.vk, bytes))
    }

    fn keep_segment(&self, place: &SegmentPlace, proof: &Proof<SC>) {
        self.keep(&self.segment_file(place), |bytes| proof.encode(bytes));
    }

    fn public_values(&self) -> Option<UserPublicValuesProof<CHUNK, F>> {
        self.take(&self.values_file(), |mut bytes| UserPublicValuesProof::decode::<SC, _>(&mut bytes).ok())
    }

    fn keep_public_values(&self, values: &UserPublicValuesProof<CHUNK, F>) {
        self.keep(&self.values_file(), |bytes| values.encode::<SC, _>(bytes));
    }

    fn node(&self, level: &'static str, vk: &MultiStarkVerifyingKey<SC>, children: &[Proof<SC>]) -> Option<Proof<SC>> {
        self.take(&self.node_file(level, vk, children)?, |bytes| verified(vk, bytes))
    }

    fn keep_node(
        &self,
        level: &'static str,
        vk: &MultiStarkVerifyingKey<SC>,
        children: &[Proof<SC>],
        proof: &Proof<SC>,
    ) {
        if let Some(path) = self.node_file(level, vk, children) {
            self.keep(&path, |bytes| proof.encode(bytes));
        }
    }

    fn stops(&self) -> bool {
        self.stop.is_asked()
    }
}

/// A proof that upstream's verifier accepts.
fn verified(vk: &MultiStarkVerifyingKey<SC>, bytes: &[u8]) -> Option<Proof<SC>> {
    let proof = Proof::<SC>::decode_from_bytes(bytes).ok()?;
    let engine: BabyBearPoseidon2CpuEngine = StarkEngine::new(vk.inner.params.clone());
    engine.verify(vk, &proof).ok().map(|()| proof)
}

/// What stands behind the header, if the header is right.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, content) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
    (Sha256::digest(content)[..] == *hash).then_some(content)
}

/// Under another name first, so that a file is whole or not there.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("part");
    let write = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(content))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // half a file is of no use, least of all on a full disk
        let _ = fs::remove_file(&beside);
    })
}

fn hash_key(hash: &mut Sha256, vk: &MultiStarkVerifyingKey<SC>) {
    hash_elements(hash, &vk.pre_hash);
    // the key's hash leaves the parameters out; serialising plain numbers cannot fail
    hash.update(serde_json::to_vec(&vk.inner.params).unwrap_or_default());
}

/// With their number before them, so that no two sequences of items look the same.
fn hash_elements(hash: &mut Sha256, elements: &[F]) {
    hash.update((elements.len() as u64).to_le_bytes());
    elements.iter().for_each(|element| hash.update(element.as_canonical_u32().to_le_bytes()));
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_and_stark_proofs_share_segments() {
        for proof in ["out/guest.app.proof", "out/guest.stark.proof", "out/guest"] {
            assert_eq!(Store::folder_of(Path::new(proof)), Path::new("out/guest.parts"));
        }
    }

    #[test]
    fn contents_are_whole_or_nothing() {
        let folder = std::env::temp_dir().join(format!("openvm-wgpu-store-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a");
        write_whole(&path, b"content").unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(content(&bytes), Some(&b"content"[..]));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(content(&other), None, "byte {at}");
            assert_eq!(content(&bytes[..at]), None, "{at} bytes");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
