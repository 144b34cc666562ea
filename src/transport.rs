//! Between host and device: proving keys, traces, committed data.

use std::sync::Arc;

use openvm_stark_backend::{
    keygen::types::{MultiStarkProvingKey, StarkProvingKey},
    p3_matrix::dense::RowMajorMatrix,
    prover::{
        stacked_pcs::StackedPcsData, ColMajorMatrix, CommittedTraceData, CpuColMajorBackend, DeviceDataTransporter,
        DeviceMultiStarkProvingKey, DeviceStarkProvingKey, MatrixDimensions,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};
use rayon::prelude::*;
use tracing::info_span;

use crate::{
    backend::{AirData, CommittedData, WgpuBackend},
    constraints::{self, PartWidths},
    device::WgpuDevice,
    error::{Error, Result},
    gpu::DeviceMatrix,
    kernels::{constraints::AirEvaluator, transpose::upload_row_major},
    stages::pcs::PcsData,
};

type SC = BabyBearPoseidon2Config;

impl WgpuDevice {
    /// Uploads a trace.
    ///
    /// # Errors
    ///
    /// The budget or the device's memory is too small; [`Error::InvalidInput`] for values that are not height times width.
    pub fn upload_matrix(&self, matrix: &ColMajorMatrix<F>) -> Result<DeviceMatrix<F>> {
        let (height, width, cells) = (matrix.height(), matrix.width(), matrix.values.len());
        if cells != height * width {
            return Err(Error::InvalidInput(format!("a trace of {height} rows and {width} columns has {cells} cells")));
        }
        DeviceMatrix::upload(self.gpu(), &matrix.values, height, width, "trace")
    }

    /// Uploads a trace that is stored by rows, as chips generate them; the device transposes it.
    ///
    /// # Errors
    ///
    /// As [`WgpuDevice::upload_matrix`].
    pub fn upload_row_major(&self, matrix: &RowMajorMatrix<F>) -> Result<DeviceMatrix<F>> {
        upload_row_major(self.gpu(), &matrix.values, matrix.width, "trace")
    }

    /// The trace's own memory serves as the stacked matrix; of the host's data only the digests travel.
    fn committed_trace(
        &self,
        trace: DeviceMatrix<F>,
        data: &StackedPcsData<F, Digest>,
        commitment: Digest,
    ) -> CommittedTraceData<WgpuBackend> {
        let data = CommittedData::new(PcsData::from_trace(self.gpu(), data, &trace));
        CommittedTraceData { commitment, trace, data: Arc::new(data) }
    }

    fn compile(&self, pk: &StarkProvingKey<SC>) -> Result<AirEvaluator> {
        let (dag, params) = (&pk.vk.symbolic_constraints, &pk.vk.params);
        let programs = constraints::compile(dag, &PartWidths::from(params), params.num_public_values)
            .map_err(|error| Error::InvalidInput(format!("{}: {error}", pk.air_name)))?;
        AirEvaluator::new(self.gpu(), &programs, self.options().evaluator, &pk.air_name)
    }

    fn transport_air(
        &self,
        pk: &StarkProvingKey<SC>,
        evaluator: Result<AirEvaluator>,
    ) -> DeviceStarkProvingKey<WgpuBackend> {
        let preprocessed_data = pk.preprocessed_data.as_ref().map(|data| {
            let trace = self.transport_matrix_to_device(&data.mat_view(0).to_matrix());
            let commitment = data.commit().expect("a committed matrix has a root");
            self.committed_trace(trace, data, commitment)
        });
        DeviceStarkProvingKey {
            air_name: pk.air_name.clone(),
            vk: pk.vk.clone(),
            preprocessed_data,
            other_data: Arc::new(AirData::new(evaluator)),
        }
    }
}

/// The traits' methods cannot fail, so what fails here is kept in the result and returned by the proof that uses it.
impl DeviceDataTransporter<SC, WgpuBackend> for WgpuDevice {
    #[tracing::instrument(level = "info", skip_all)]
    fn transport_pk_to_device(&self, mpk: &MultiStarkProvingKey<SC>) -> DeviceMultiStarkProvingKey<WgpuBackend> {
        let lower = || mpk.per_air.par_iter().map(|pk| self.compile(pk)).collect::<Vec<_>>();
        let evaluators = info_span!("lower_constraints").in_scope(lower);
        if let Err(error) = AirEvaluator::share_table(self.gpu(), &evaluators.iter().flatten().collect::<Vec<_>>()) {
            // a proof makes its own, and reports what is in its way
            tracing::warn!(%error, "no table of constraint programs");
        }
        let airs = mpk.per_air.iter().zip(evaluators);
        DeviceMultiStarkProvingKey::new(
            airs.map(|(pk, evaluator)| self.transport_air(pk, evaluator)).collect(),
            mpk.trace_height_constraints.clone(),
            mpk.max_constraint_degree,
            mpk.params.clone(),
            mpk.vk_pre_hash,
        )
    }

    fn transport_matrix_to_device(&self, matrix: &ColMajorMatrix<F>) -> DeviceMatrix<F> {
        self.upload_matrix(matrix).unwrap_or_else(|error| DeviceMatrix::failed(matrix.height(), matrix.width(), error))
    }

    fn transport_pcs_data_to_device(&self, data: &StackedPcsData<F, Digest>) -> CommittedData {
        let matrix = self.transport_matrix_to_device(&data.matrix);
        CommittedData::new(PcsData::from_stacked(self.gpu(), data, matrix))
    }

    fn transport_committed_trace_data_to_device(
        &self,
        committed: &CommittedTraceData<CpuColMajorBackend<SC>>,
    ) -> CommittedTraceData<WgpuBackend> {
        let trace = self.transport_matrix_to_device(&committed.trace);
        self.committed_trace(trace, &committed.data, committed.commitment)
    }

    /// # Panics
    ///
    /// When the device fails; for tests and debugging only.
    fn transport_matrix_from_device_to_host(&self, matrix: &DeviceMatrix<F>) -> ColMajorMatrix<F> {
        let values = matrix.download(self.gpu()).expect("device memory can be read");
        ColMajorMatrix::new(values, matrix.width())
    }
}
