//! Links in the documents lead somewhere.

use std::fs;
use std::path::Path;

/// Relative links without a target, in every Markdown file of the repository's own folders.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in crate::sources::files_ending(root, ".md")? {
        let text = fs::read_to_string(&path)?;
        let folder = path.parent().unwrap_or(root);
        for link in relative_links(&text) {
            if !folder.join(&link).exists() {
                let file = path.strip_prefix(root)?.display();
                faults.push(format!("{file}: the link to {link} leads nowhere"));
            }
        }
    }
    Ok(faults)
}

/// Targets of `[text](target)` that are files of this repository, without their fragments.
fn relative_links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or("");
            let file = target.split('#').next().unwrap_or("");
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") {
                links.push(file.to_owned());
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_repository_are_checked() {
        let text =
            "[a](x.md#part) [b](https://e.org) [c](#here)\n```\n[d](no.md)\n```\n![p](p.png)";
        assert_eq!(relative_links(text), ["x.md", "p.png"]);
    }
}
