//! What the environment asks for: empty values count as unset, what is not understood is an error that names variable and value.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use wgpu::Backends;

use crate::error::{Error, Result};

/// Which backends are searched.
pub(super) const BACKEND: &str = "WGPU_BACKEND";

/// Which adapter of those that are found.
pub(super) const ADAPTER: &str = "WGPU_ADAPTER_NAME";

/// Looks a variable up; tests have an environment of their own.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The value of a variable, `None` where it is unset or blank.
///
/// # Errors
///
/// [`Error::Environment`] for a value that is no text.
pub(super) fn variable(name: &'static str) -> Result<Option<String>> {
    text(name, &|name| std::env::var_os(name))
}

fn text(name: &'static str, lookup: Lookup<'_>) -> Result<Option<String>> {
    let Some(value) = lookup(name) else { return Ok(None) };
    match value.into_string() {
        Ok(value) if value.trim().is_empty() => Ok(None),
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(value) => Err(invalid(name, &value.to_string_lossy(), "text in UTF-8".into())),
    }
}

pub(super) fn invalid(variable: &'static str, value: &str, expected: String) -> Error {
    Error::Environment { variable, value: value.into(), expected }
}

/// The backends to search: those that [`BACKEND`] names, all that are good for the prover where it names none.
///
/// # Errors
///
/// [`Error::Environment`] for a name that is unknown, or of a backend that this platform does not have.
pub(super) fn backends() -> Result<Backends> {
    let Some(names) = variable(BACKEND)? else { return Ok(Backends::VULKAN | Backends::METAL | Backends::DX12) };
    parse_backends(&names, wgpu::Instance::enabled_backend_features() | Backends::NOOP)
}

fn parse_backends(names: &str, enabled: Backends) -> Result<Backends> {
    let names_of = |name: &str| match name {
        "vulkan" | "vk" => Some(Backends::VULKAN),
        "metal" | "mtl" => Some(Backends::METAL),
        "dx12" | "d3d12" => Some(Backends::DX12),
        "opengl" | "gles" | "gl" => Some(Backends::GL),
        "noop" => Some(Backends::NOOP),
        _ => None,
    };
    let known = || "vulkan, metal or dx12, or several of them with commas between".to_owned();
    let mut backends = Backends::empty();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        backends |= names_of(&name.to_lowercase()).ok_or_else(|| invalid(BACKEND, names, known()))?;
    }
    if backends.is_empty() {
        return Err(invalid(BACKEND, names, known()));
    }
    if (backends & enabled).is_empty() {
        let here = (enabled - Backends::NOOP).iter_names().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>();
        return Err(invalid(BACKEND, names, format!("what this platform has: {}", here.join(", "))));
    }
    Ok(backends)
}

/// Where the caches of a user's programs lie, by the XDG specification: `$XDG_CACHE_HOME`, else `~/.cache`, else `%LOCALAPPDATA%`. Values that
/// are empty or relative are ignored; `None` where nothing is left.
pub(super) fn cache_home() -> Option<PathBuf> {
    find_cache_home(&|name| std::env::var_os(name))
}

fn find_cache_home(lookup: Lookup<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| lookup(name).map(PathBuf::from).filter(|path| Path::is_absolute(path));
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .or_else(|| absolute("LOCALAPPDATA"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment of these variables.
    fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into())
    }

    #[test]
    fn empty_is_unset() {
        for value in ["", "  ", "\t"] {
            assert_eq!(text(BACKEND, &environment(&[(BACKEND, value)])).unwrap(), None);
        }
        assert_eq!(text(BACKEND, &environment(&[])).unwrap(), None);
        assert_eq!(text(ADAPTER, &environment(&[(ADAPTER, " M2 ")])).unwrap().unwrap(), "M2");
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_no_text_are_errors() {
        use std::os::unix::ffi::OsStringExt;
        let error = text(ADAPTER, &|_| Some(OsString::from_vec(b"M\xff2".to_vec()))).unwrap_err().to_string();
        assert!(error.contains(ADAPTER) && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn backends_are_those_that_are_named() {
        let parse = |names| parse_backends(names, Backends::VULKAN | Backends::DX12);
        assert_eq!(parse("vulkan").unwrap(), Backends::VULKAN);
        assert_eq!(parse(" VK , dx12,").unwrap(), Backends::VULKAN | Backends::DX12);
        assert_eq!(parse("metal,vulkan").unwrap(), Backends::METAL | Backends::VULKAN);
        for unknown in ["vulcan", "vulkan,vulcan", ",", "1"] {
            let error = parse(unknown).unwrap_err().to_string();
            assert!(error.contains(&format!("WGPU_BACKEND is `{unknown}`")) && error.contains("metal"), "{error}");
        }
        let error = parse("metal").unwrap_err().to_string();
        assert!(
            error.contains("WGPU_BACKEND is `metal`") && error.contains("this platform has: vulkan, dx12"),
            "{error}"
        );
    }

    #[test]
    fn caches_lie_where_xdg_says() {
        let home = |variables: &[_]| find_cache_home(&environment(variables));
        assert_eq!(home(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c".into()));
        for ignored in ["", "c", "./c", "../c"] {
            assert_eq!(home(&[("XDG_CACHE_HOME", ignored), ("HOME", "/h")]), Some("/h/.cache".into()));
            assert_eq!(home(&[("XDG_CACHE_HOME", ignored), ("HOME", ignored), ("LOCALAPPDATA", ignored)]), None);
        }
        assert_eq!(home(&[]), None);
    }
}
