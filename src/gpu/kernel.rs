//! How a kernel is declared: once, as a struct of named bindings and parameters.

use super::{
    buffer::{DeviceBuffer, RawBuffer},
    element::Element,
    executor::Access,
};

/// The static part of a kernel: its source and its interface.
#[derive(Debug)]
pub struct KernelDecl {
    /// Path of the WGSL file below `wgsl/`, also the kernel's name in errors and labels.
    pub path: &'static str,
    /// The unlinked WGSL.
    pub source: &'static str,
    /// Names and access of `@group(0) @binding(0..)`, in order.
    pub bindings: &'static [(&'static str, Access)],
    /// Names of the `u32` members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// Threads per workgroup (`@workgroup_size`).
    pub workgroup: u32,
}

/// What of a kernel differs from one pipeline to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant {
    /// Values of WGSL `override`s.
    pub overrides: Vec<(&'static str, u32)>,
    /// Linker flags that are set.
    pub flags: Vec<&'static str>,
}

/// A kernel with its arguments, ready to be recorded. Implemented by `kernel!`.
pub trait Kernel {
    /// The declaration.
    const DECL: &'static KernelDecl;

    /// The buffers in binding order.
    fn bindings(&self) -> Vec<&RawBuffer>;

    /// The parameter words in order.
    fn params(&self) -> Vec<u32>;

    /// The variant that the arguments ask for.
    fn variant(&self) -> Variant;
}

/// How many workgroups a kernel gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    threads: u64,
    workgroups: u64,
    batch: u32,
}

impl Grid {
    /// At least `threads` threads in a linear grid (see `wgsl/grid.wgsl`).
    pub fn threads(threads: usize) -> Self {
        Self { threads: threads as u64, workgroups: 0, batch: 1 }
    }

    /// `workgroups` workgroups in a linear grid.
    pub fn workgroups(workgroups: usize) -> Self {
        Self { threads: 0, workgroups: workgroups as u64, batch: 1 }
    }

    /// Repeats the linear grid `batch` times along z (at most 65,535).
    pub fn batched(self, batch: usize) -> Self {
        assert!(batch <= 65_535, "batch of {batch} exceeds a dispatch dimension");
        Self { batch: batch as u32, ..self }
    }

    /// The dispatch for workgroups of `size` threads: x and y within 65,535, `None` when there is nothing to do.
    pub(super) fn dispatch(self, size: u32) -> Option<[u32; 3]> {
        let linear = self.workgroups.max(self.threads.div_ceil(size as u64));
        if linear == 0 || self.batch == 0 {
            return None;
        }
        let y = linear.div_ceil(65_535);
        let x = linear.div_ceil(y);
        Some([x as u32, y as u32, self.batch])
    }
}

/// Erases a typed buffer, for the macro.
pub fn raw<T: Element>(buffer: &DeviceBuffer<T>) -> &RawBuffer {
    buffer.raw()
}

/// Declares a kernel: a struct whose fields are its bindings, parameters, overrides and flags.
///
/// ```text
/// kernel! {
///     /// dst[i] = src[2 i] + r (src[2 i + 1] - src[2 i])
///     pub struct FoldMle("sumcheck/fold.wgsl", workgroup = 256) {
///         buffers { read src: EF, write dst: EF }
///         params { len }
///         overrides { ROWS }
///         flags { EXTENSION }
///     }
/// }
/// rec.dispatch(&FoldMle { src: &a, dst: &b, len: 17, ROWS: 4, EXTENSION: true }, Grid::threads(17));
/// ```
///
/// The WGSL file declares the bindings in the same order from `@binding(0)`, and, when there are parameters,
/// `struct Params { len: u32 }` and `var<immediate> params: Params;`. `write` is `var<storage, read_write>`.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($path:literal, workgroup = $workgroup:expr) {
            buffers { $( $(#[$bmeta:meta])* $access:ident $binding:ident : $ty:ty ),* $(,)? }
            $( params { $( $(#[$pmeta:meta])* $param:ident ),* $(,)? } )?
            $( overrides { $( $(#[$ometa:meta])* $over:ident ),* $(,)? } )?
            $( flags { $( $(#[$fmeta:meta])* $flag:ident ),* $(,)? } )?
        }
    ) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        $vis struct $name<'a> {
            $( $(#[$bmeta])* pub $binding: &'a $crate::gpu::DeviceBuffer<$ty>, )*
            $( $( $(#[$pmeta])* pub $param: u32, )* )?
            $( $( $(#[$ometa])* pub $over: u32, )* )?
            $( $( $(#[$fmeta])* pub $flag: bool, )* )?
        }

        impl $crate::gpu::Kernel for $name<'_> {
            const DECL: &'static $crate::gpu::KernelDecl = &$crate::gpu::KernelDecl {
                path: $path,
                source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wgsl/", $path)),
                bindings: &[ $( (stringify!($binding), $crate::kernel!(@access $access)) ),* ],
                params: &[ $( $( stringify!($param) ),* )? ],
                workgroup: $workgroup,
            };

            fn bindings(&self) -> Vec<&$crate::gpu::RawBuffer> {
                vec![ $( $crate::gpu::raw(self.$binding) ),* ]
            }

            fn params(&self) -> Vec<u32> {
                vec![ $( $( self.$param ),* )? ]
            }

            #[allow(unused_mut)]
            fn variant(&self) -> $crate::gpu::Variant {
                let mut flags = Vec::<&'static str>::new();
                $( $( if self.$flag { flags.push(stringify!($flag)); } )* )?
                $crate::gpu::Variant { overrides: vec![ $( $( (stringify!($over), self.$over) ),* )? ], flags }
            }
        }
    };
    (@access read) => { $crate::gpu::Access::Read };
    (@access write) => { $crate::gpu::Access::ReadWrite };
}

pub(crate) use kernel;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_into_two_dimensions() {
        assert_eq!(Grid::threads(0).dispatch(256), None);
        assert_eq!(Grid::threads(257).dispatch(256), Some([2, 1, 1]));
        assert_eq!(Grid::workgroups(65_535).dispatch(64), Some([65_535, 1, 1]));
        let [x, y, z] = Grid::workgroups(1_000_003).batched(5).dispatch(64).unwrap();
        assert!(x <= 65_535 && y <= 65_535 && z == 5);
        assert!((x as u64) * (y as u64) >= 1_000_003);
    }
}
