//! `bench`: proofs of known workloads, and a comparison with a peer.

use clap::Subcommand;

use crate::{
    failure::{Failure, Kind, Result},
    session::{caught, Speech},
    support::{
        compare::{self, CompareArgs, Driver},
        proofs::{self, ProofArgs},
    },
};

/// What is measured.
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Prove keccak-f permutations, or another workload
    Proofs(ProofArgs),
    /// Prove each workload here and with a peer, and print the ratios
    Compare(CompareArgs),
}

pub fn bench(command: &BenchCommand, speech: Speech) -> Result<()> {
    if speech.json {
        return Err(Failure::usage(
            "`bench` prints text; its records in JSON go to the file of `bench proofs --records`",
        ));
    }
    caught(Kind::Internal, "a bug", || {
        let program = std::env::current_exe().map_err(|error| Failure::io("cannot find this program", &error))?;
        let measured = match command {
            BenchCommand::Proofs(args) => proofs::run(args),
            BenchCommand::Compare(args) => compare::run(args, &Driver { program, arguments: &["bench", "proofs"] }),
        };
        Ok(measured?)
    })
}
