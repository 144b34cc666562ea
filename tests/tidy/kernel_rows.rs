//! A row of `docs/kernels.md` for each WGSL file.

use crate::{markdown, File};

/// WGSL files that no first cell of a table names, as `` `family/name` ``.
pub fn missing(kernels: &[File], document: &str) -> Vec<String> {
    let named: Vec<String> = markdown::tables(document)
        .iter()
        .flat_map(|table| &table.rows)
        .flat_map(|row| markdown::code_spans(&row.cells[0]))
        .collect();
    let name = |file: &File| file.path.trim_start_matches("wgsl/").trim_end_matches(".wgsl").to_string();
    kernels
        .iter()
        .map(name)
        .filter(|name| !named.contains(name))
        .map(|name| format!("wgsl/{name}.wgsl has no row"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_a_row_is_found() {
        let document = "| kernel | computes |\n| --- | --- |\n| `ntt/pass`, `ntt/wide` | `merkle/tree` |\n";
        let kernels =
            ["wgsl/ntt/pass.wgsl", "wgsl/ntt/wide.wgsl", "wgsl/merkle/tree.wgsl"].map(|path| File::new(path, ""));
        assert_eq!(missing(&kernels, document), ["wgsl/merkle/tree.wgsl has no row"]);
    }
}
