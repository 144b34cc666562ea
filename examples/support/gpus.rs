//! Lists of GPUs, as options name them.

use openvm_wgpu_backend::{adapters, Error};

/// The names by which devices are opened: of a list of numbers, PCI addresses, UUIDs and parts of names; of every GPU where it is `all`.
/// Software counts only where there is nothing else. None at all if `all` are none.
pub fn names(list: &[String]) -> Result<Vec<String>, Error> {
    if list != ["all"] {
        return Ok(list.iter().map(|name| numbered(name)).collect());
    }
    let mut found: Vec<_> = adapters()?.into_iter().filter(|found| found.missing.is_none()).collect();
    if found.iter().any(|found| found.summary.kind != "software") {
        found.retain(|found| found.summary.kind != "software");
    }
    Ok(found.iter().map(|found| format!("#{}", found.summary.index)).collect())
}

/// A number alone is an adapter's.
fn numbered(name: &str) -> String {
    match name.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("#{name}"),
        false => name.to_owned(),
    }
}
