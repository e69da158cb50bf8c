//! Where unsafe code may stand, and what no source may name.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust source below `root`.
pub fn rust_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files_ending(root, ".rs")
}

/// Every file below `root` whose name ends so, but for hidden folders and what cargo built.
pub fn files_ending(root: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A file where unsafe code is expected: a crate or a module called `sys`.
fn is_fenced(relative: &Path) -> bool {
    relative.components().any(|part| {
        let part = part.as_os_str();
        part == "sys" || part == "sys.rs"
    })
}

fn uses_unsafe(source: &str) -> bool {
    source.lines().any(|line| {
        let unquoted: String = line.split('"').step_by(2).collect();
        let code = unquoted.split("//").next().unwrap_or("").trim_start();
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|word| code.starts_with(word) || code.contains(&format!(" {word}")))
    })
}

/// Unsafe code outside its fences.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in rust_files(root)? {
        let relative = path.strip_prefix(root)?;
        if !is_fenced(relative) && uses_unsafe(&fs::read_to_string(&path)?) {
            faults.push(format!(
                "{}: unsafe code belongs in a module or crate called sys",
                relative.display()
            ));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_seen_and_words_about_it_are_not() {
        assert!(uses_unsafe("    let x = unsafe { *p };"));
        assert!(uses_unsafe("unsafe impl Send for X {}"));
        assert!(!uses_unsafe("#![forbid(unsafe_code)]"));
        assert!(!uses_unsafe("let rule = \"unsafe { in words }\";"));
        assert!(!uses_unsafe("// an unsafe { block } in words"));
    }

    #[test]
    fn fences_are_called_sys() {
        assert!(is_fenced(Path::new("appliance/sys/src/mount.rs")));
        assert!(is_fenced(Path::new("server/session/src/sys.rs")));
        assert!(!is_fenced(Path::new("server/session/src/system.rs")));
    }
}
