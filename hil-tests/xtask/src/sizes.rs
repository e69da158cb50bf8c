//! The largest files, printed and never failed on: a look at them is worth more than a rule.

use std::fs;
use std::path::Path;

/// Prints the ten largest Rust files.
pub fn print(root: &Path) -> anyhow::Result<()> {
    let mut sizes = Vec::new();
    for path in crate::sources::rust_files(root)? {
        let lines = fs::read_to_string(&path)?.lines().count();
        sizes.push((lines, path.strip_prefix(root)?.display().to_string()));
    }
    sizes.sort_by(|a, b| b.cmp(a));
    println!("xtask: largest files, in lines");
    for (lines, path) in sizes.iter().take(10) {
        println!("  {lines:6}  {path}");
    }
    Ok(())
}
