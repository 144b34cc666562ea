/// Why a kernel cannot be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// naga rejects the text.
    #[error("{kernel}: {message}")]
    Translation {
        /// [`Kernel::name`](crate::Kernel::name).
        kernel: String,
        /// What naga says.
        message: String,
    },
    /// There is no C++ compiler.
    #[error("clang++ is needed to run Metal kernels on the CPU (Debian: apt-get install clang; macOS: xcode-select --install): {0}")]
    NoCompiler(String),
    /// The C++ compiler rejects the text.
    #[error("{kernel}: {message}")]
    Compilation {
        /// [`Kernel::name`](crate::Kernel::name).
        kernel: String,
        /// What clang++ says.
        message: String,
    },
    /// The arguments of a run do not fit the kernel.
    #[error("{kernel}: {message}")]
    Arguments {
        /// [`Kernel::name`](crate::Kernel::name).
        kernel: String,
        /// What does not fit.
        message: String,
    },
    /// Reading or writing the cache of compiled kernels.
    #[error("{path}: {source}")]
    Cache {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the system reports.
        source: std::io::Error,
    },
}
