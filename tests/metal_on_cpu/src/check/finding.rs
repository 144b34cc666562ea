use std::fmt;

/// The classes of faults that check mode tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// An access outside of all bindings and workgroup variables.
    OutOfBounds,
    /// An index beyond an array of constant size (private or in workgroup memory).
    ArrayOverrun,
    /// Two threads access a word, one of them writes, and no barrier is between them.
    Race,
    /// Storage that one thread of a workgroup wrote and another accesses, with only `workgroupBarrier` between: Metal orders workgroup
    /// memory there and no other.
    MissingStorageBarrier,
    /// Workgroup memory that is read before anything was written to it.
    Uninitialized,
    /// A barrier that not all threads of the workgroup reach together.
    DivergentBarrier,
    /// A subgroup operation that not all threads of the subgroup reach together.
    DivergentSubgroup,
    /// Integer division or remainder by zero.
    DivisionByZero,
    /// A shift by the width of the operand or more.
    WideShift,
}

/// A fault of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its class.
    pub kind: FindingKind,
    /// [`Kernel::name`](crate::Kernel::name).
    pub kernel: String,
    /// Line of [`Program::msl`](crate::Program::msl), from 1; 0 where it is not known.
    pub metal_line: u32,
    /// The text of that line.
    pub metal_text: String,
    /// What happened, and to which binding.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, kernel: &str, metal: &str, metal_line: u32, message: String) -> Self {
        let metal_text = line_of(metal, metal_line).to_owned();
        Self { kind, kernel: kernel.to_owned(), metal_line, metal_text, message }
    }
}

/// A line, from 1; empty if there is none.
pub(super) fn line_of(metal: &str, line: u32) -> &str {
    let index = (line as usize).checked_sub(1);
    index.and_then(|index| metal.lines().nth(index)).unwrap_or_default().trim()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, kernel, metal_line, metal_text, message } = self;
        write!(f, "{kernel}, .metal:{metal_line}: `{metal_text}`: {kind:?}: {message}")
    }
}
