//! A figure has one home. Where a second document repeats it, both say the same.
//!
//! A figure is a cell of a table. What it measures is the label of its row (up to the first bracket, colon or comma), the first word of its
//! column's header, and its unit (behind the number, else behind the comma of the header). Figures of two documents that measure the same
//! must be equal. The first word of a header tells measures apart, so it has to differ where what is measured does.

use std::collections::BTreeMap;

use crate::{markdown, File};

/// Label, measure and unit.
type Key = (String, String, String);

/// Figures that two documents give differently.
pub fn differences(documents: &[File]) -> Vec<String> {
    let mut first: BTreeMap<Key, (&str, usize, String)> = BTreeMap::new();
    let mut violations = Vec::new();
    for document in documents {
        for (line, key, number) in figures(&document.text) {
            let (path, at, other) = first.entry(key.clone()).or_insert_with(|| (&document.path, line, number.clone()));
            if *path != document.path && *other != number {
                let (label, measure, unit) = key;
                violations.push(format!(
                    "{label}, {measure}: {other} {unit} at {path}:{at}, {number} at {}:{line}",
                    document.path
                ));
            }
        }
    }
    violations
}

fn figures(text: &str) -> Vec<(usize, Key, String)> {
    let mut found = Vec::new();
    for table in markdown::tables(text) {
        for row in &table.rows {
            for (header, cell) in table.header.iter().zip(&row.cells).skip(1) {
                let Some((number, unit)) = number(cell) else { continue };
                let unit = if unit.is_empty() { unit_of(header) } else { unit };
                found.push((row.line, (label(&row.cells[0]), measure(header), unit), number));
            }
        }
    }
    found
}

fn label(cell: &str) -> String {
    cell.split(['(', ':', ',']).next().unwrap_or(cell).replace(['`', '*'], "").trim().to_lowercase()
}

fn measure(header: &str) -> String {
    header.split([' ', ',', ':']).next().unwrap_or(header).to_lowercase()
}

fn unit_of(header: &str) -> String {
    header.rsplit_once(", ").map_or_else(String::new, |(_, unit)| unit.to_string())
}

/// The number that a cell begins with, and the unit behind it.
fn number(cell: &str) -> Option<(String, String)> {
    let cell = cell.trim_start_matches('*');
    let end = cell.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(cell.len());
    let number = cell[..end].trim_end_matches(['.', ',']);
    if number.is_empty() {
        return None;
    }
    let next = cell[end..].split_whitespace().next().unwrap_or("");
    let unit = ["ms", "us", "s", "GiB", "MiB", "GB", "MB", "B"]
        .into_iter()
        .find(|unit| next.trim_matches(['*', ',', ';', ':']) == *unit);
    Some((number.to_string(), unit.unwrap_or("").to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "| workload | this backend | peak device memory |\n| --- | --- | --- |\n| keccak 10 (2^15 x 2,633) | 27.5 (26.3-28.3) | 1.28 GiB |\n";

    fn found(other: &str) -> Vec<String> {
        differences(&[File::new("docs/performance.md", HOME), File::new("README.md", other)])
    }

    #[test]
    fn a_planted_difference_is_found() {
        let other = "| workload | traces | peak |\n| --- | --- | --- |\n| keccak 10: 1,024 permutations | 0.32 GiB | 1.09 GiB |\n";
        assert_eq!(found(other), ["keccak 10, peak: 1.28 GiB at docs/performance.md:3, 1.09 at README.md:3"]);
        assert_eq!(found("| workload | this backend (Vulkan) |\n| --- | --- |\n| keccak 10 | **27.4** |\n").len(), 1);
    }

    #[test]
    fn other_measures_and_equal_figures_are_not() {
        assert_eq!(found(HOME), Vec::<String>::new());
        assert_eq!(found("| workload | peer | peak, words |\n| --- | --- | --- |\n| keccak 10 | 90.5 | 7 |\n| keccak 13 | 1 | 2 GiB |\n"), Vec::<String>::new());
    }
}
