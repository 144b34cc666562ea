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
    /// The file as it is; [`KernelDecl::wgsl`] is what gets linked.
    pub source: &'static str,
    /// `@group(0) @binding(0..)`, in order.
    pub bindings: &'static [BindingDecl],
    /// Names of the parameters, `u32` members of `params`, in order.
    pub params: &'static [&'static str],
    /// Threads per workgroup (`@workgroup_size`).
    pub workgroup: u32,
    /// What kernels generated into the file have, where it takes such.
    pub generated: Option<GeneratedForm>,
}

/// A buffer of a kernel.
#[derive(Debug)]
pub struct BindingDecl {
    /// Name of the variable.
    pub name: &'static str,
    /// How the kernel uses it.
    pub access: Access,
    /// WGSL type of its elements; of constants, which have a fixed size, that of the whole.
    pub element: &'static str,
}

/// How kernels generated into a file differ from the file's own.
#[derive(Debug)]
pub struct GeneratedForm {
    /// How many of the bindings they have, the first ones.
    pub bindings: usize,
    /// Threads per workgroup.
    pub workgroup: u32,
}

/// The line of a file that the interface takes the place of.
const INTERFACE: &str = "#interface\n";

/// The line of a file that generated text takes the place of.
const GENERATED: &str = "#generated\n";

impl KernelDecl {
    /// The unlinked WGSL of the file's own kernel.
    pub fn wgsl(&self) -> String {
        self.with_interface(self.bindings)
    }

    /// The unlinked WGSL of a kernel with `text` generated into the file.
    ///
    /// # Panics
    ///
    /// If the file takes no generated text.
    pub(super) fn generated_wgsl(&self, text: &str) -> String {
        assert_eq!(self.source.matches(GENERATED).count(), 1, "{} takes generated text", self.path);
        self.with_interface(self.generated_bindings()).replace(GENERATED, text)
    }

    /// The bindings of generated kernels.
    pub fn generated_bindings(&self) -> &'static [BindingDecl] {
        let form = self.generated.as_ref().unwrap_or_else(|| panic!("{} takes no generated text", self.path));
        &self.bindings[..form.bindings]
    }

    fn with_interface(&self, bindings: &[BindingDecl]) -> String {
        assert_eq!(self.source.matches(INTERFACE).count(), 1, "{} takes its interface once", self.path);
        self.source.replace(INTERFACE, &interface(bindings, self.params))
    }
}

/// WGSL of bindings and parameters.
fn interface(bindings: &[BindingDecl], params: &[&str]) -> String {
    let mut text = String::new();
    for (i, BindingDecl { name, access, element }) in bindings.iter().enumerate() {
        let variable = match access {
            Access::Read => format!("var<storage, read> {name}: array<{element}>"),
            Access::ReadWrite => format!("var<storage, read_write> {name}: array<{element}>"),
            Access::Constant => format!("var<uniform> {name}: {element}"),
        };
        text += &format!("@group(0) @binding({i}) {variable};\n");
    }
    let members: String = params.iter().map(|name| format!("    {name}: u32,\n")).collect();
    if !params.is_empty() {
        text += &format!("struct Params {{\n{members}}}\nvar<immediate> params: Params;\n");
    }
    text
}

/// WGSL type of an element of so many words.
pub const fn element_type(words: usize) -> &'static str {
    if words == 1 {
        "u32"
    } else {
        "vec4<u32>"
    }
}

/// Storage buffers that a kernel may bind: what every device has.
pub const MAX_BINDINGS: usize = super::required::STORAGE_BUFFERS as usize;

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
/// The WGSL file has a line `#interface`, and gets from here what it would else have to repeat: the bindings from `@binding(0)` on and, when
/// there are parameters, `struct Params { len: u32 }` with `var<immediate> params: Params`. `write` is `var<storage, read_write>`, `constant` is
/// `var<uniform>`, of a type of the file: `constant table: F as Table`.
/// Elements are `u32` or `vec4<u32>` by their size, or what follows `as`: `read entries: u32 as vec2<u32>`, or an alias of the file. Several
/// kernels may be made from one file, with interfaces of their own.
///
/// A file that takes text generated at run time has a line `#generated` for it. Its declaration says so behind the name, with the threads of a workgroup of
/// such kernels, `generated(workgroup = 256)`; what generated kernels do not bind stands under `own { .. }` behind the buffers.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($path:literal $(= $source:expr)?, workgroup = $workgroup:expr)
        $( generated(workgroup = $generated:expr) )?
        {
            buffers { $( $(#[$bmeta:meta])* $access:ident $binding:ident : $ty:ty $( as $view:ty )? ),* $(,)? }
            $( own { $( $(#[$wmeta:meta])* $own_access:ident $own:ident : $own_ty:ty $( as $own_view:ty )? ),* $(,)? } )?
            $( params { $( $(#[$pmeta:meta])* $param:ident ),* $(,)? } )?
            $( overrides { $( $(#[$ometa:meta])* $over:ident ),* $(,)? } )?
            $( flags { $( $(#[$fmeta:meta])* $flag:ident ),* $(,)? } )?
        }
    ) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        $vis struct $name<'a> {
            $( $(#[$bmeta])* pub $binding: &'a $crate::gpu::DeviceBuffer<$ty>, )*
            $( $( $(#[$wmeta])* pub $own: &'a $crate::gpu::DeviceBuffer<$own_ty>, )* )?
            $( $( $(#[$pmeta])* pub $param: u32, )* )?
            $( $( $(#[$ometa])* pub $over: u32, )* )?
            $( $( $(#[$fmeta])* pub $flag: bool, )* )?
        }

        impl $crate::gpu::Kernel for $name<'_> {
            const DECL: &'static $crate::gpu::KernelDecl = &$crate::gpu::KernelDecl {
                path: $path,
                source: $crate::kernel!(@source $path $($source)?),
                bindings: &[
                    $( $crate::kernel!(@binding $access $binding $ty $( as $view )?), )*
                    $( $( $crate::kernel!(@binding $own_access $own $own_ty $( as $own_view )?), )* )?
                ],
                params: &[ $( $( stringify!($param) ),* )? ],
                workgroup: $workgroup,
                generated: $crate::kernel!(@generated [ $( stringify!($binding) ),* ] $( $generated )?),
            };

            fn bindings(&self) -> Vec<&$crate::gpu::RawBuffer> {
                vec![ $( $crate::gpu::raw(self.$binding), )* $( $( $crate::gpu::raw(self.$own), )* )? ]
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

        const _: () = assert!(
            <$name<'_> as $crate::gpu::Kernel>::DECL.bindings.len() <= $crate::gpu::MAX_BINDINGS,
            "more storage buffers than every device has",
        );
    };
    (@source $path:literal) => { include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wgsl/", $path)) };
    (@source $path:literal $source:expr) => { $source };
    (@generated $bindings:tt) => { None };
    (@generated $bindings:tt $workgroup:expr) => {
        Some($crate::gpu::GeneratedForm { bindings: $bindings.len(), workgroup: $workgroup })
    };
    (@binding $access:ident $binding:ident $ty:ty) => {
        $crate::gpu::BindingDecl {
            name: stringify!($binding),
            access: $crate::kernel!(@access $access),
            element: $crate::gpu::element_type(<$ty as $crate::gpu::Element>::WORDS),
        }
    };
    (@binding $access:ident $binding:ident $ty:ty as $view:ty) => {
        $crate::gpu::BindingDecl {
            name: stringify!($binding),
            access: $crate::kernel!(@access $access),
            element: stringify!($view),
        }
    };
    (@access read) => { $crate::gpu::Access::Read };
    (@access write) => { $crate::gpu::Access::ReadWrite };
    (@access constant) => { $crate::gpu::Access::Constant };
}

pub(crate) use kernel;

#[cfg(test)]
mod tests {
    use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

    use super::*;

    kernel! {
        #[allow(dead_code)]
        /// Declared for [`interfaces_come_from_declarations`].
        struct Framed("test" = "alias Pair = vec2<u32>;\nalias Factors = array<vec4<u32>, 3>;\n#interface\n#generated\n", workgroup = 64)
        generated(workgroup = 128)
        {
            buffers { read pairs: u32 as Pair, write sums: EF }
            own { read table: F, constant factors: F as Factors }
            params { len, first }
        }
    }

    #[test]
    fn interfaces_come_from_declarations() {
        let decl = Framed::DECL;
        let text = decl.generated_wgsl("fn f() {}\n");
        let lines = [
            "alias Pair = vec2<u32>;",
            "alias Factors = array<vec4<u32>, 3>;",
            "@group(0) @binding(0) var<storage, read> pairs: array<Pair>;",
            "@group(0) @binding(1) var<storage, read_write> sums: array<vec4<u32>>;",
            "struct Params {",
            "    len: u32,",
            "    first: u32,",
            "}",
            "var<immediate> params: Params;",
            "fn f() {}",
        ];
        assert!(text.lines().eq(lines), "{text}");
        let own = "@group(0) @binding(2) var<storage, read> table: array<u32>;\n\
            @group(0) @binding(3) var<uniform> factors: Factors;\n";
        assert!(decl.wgsl().contains(own) && decl.wgsl().ends_with("#generated\n"));
        assert_eq!((decl.bindings.len(), decl.generated_bindings().len()), (4, 2));
    }

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
