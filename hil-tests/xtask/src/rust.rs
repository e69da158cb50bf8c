//! Which Rust the terminal's dependencies need: no newer one than it says itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

/// Where all that is built on a terminal or for one begins.
const ROOTS: [&str; 2] = ["heliostat-terminal", "heliostat-init"];
/// The platform that images are built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What cargo knows of all packages and of who needs whom.
#[derive(Debug, Deserialize)]
pub struct Graph {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    rust_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Debug, Deserialize)]
struct DepKind {
    kind: Option<String>,
}

/// Asks cargo.
pub fn read(root: &Path) -> anyhow::Result<Graph> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", PLATFORM])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The packages that a root needs, not counting tests, and that need a newer Rust than the root.
pub fn check(graph: &Graph) -> Vec<String> {
    let packages: HashMap<_, _> = graph.packages.iter().map(|one| (&*one.id, one)).collect();
    let nodes: HashMap<_, _> = graph
        .resolve
        .nodes
        .iter()
        .map(|one| (&*one.id, one))
        .collect();
    let mut faults = Vec::new();
    for name in ROOTS {
        let Some(root) = graph.packages.iter().find(|package| package.name == name) else {
            faults.push(format!("there is no package {name}"));
            continue;
        };
        let wanted = version(root.rust_version.as_deref());
        let (mut met, mut open) = (HashSet::from([&*root.id]), vec![&*root.id]);
        while let Some(id) = open.pop() {
            let needed = nodes.get(id).into_iter().flat_map(|node| &node.deps);
            let counts = |edge: &&Edge| {
                let mut kinds = edge.dep_kinds.iter();
                kinds.any(|one| one.kind.as_deref() != Some("dev"))
            };
            open.extend(
                needed
                    .filter(counts)
                    .map(|edge| &*edge.pkg)
                    .filter(|id| met.insert(id)),
            );
        }
        let newer = met.into_iter().filter_map(|id| packages.get(id));
        let newer = newer.filter(|package| version(package.rust_version.as_deref()) > wanted);
        faults.extend(newer.map(|package| {
            let needs = package.rust_version.as_deref().unwrap_or_default();
            format!(
                "{name} is for Rust {}, and {} {} in it needs {needs}",
                root.rust_version.as_deref().unwrap_or("?"),
                package.name,
                package.version,
            )
        }));
    }
    faults.sort();
    faults
}

/// The three numbers of a version; what is not said is zero.
fn version(text: Option<&str>) -> [u32; 3] {
    let mut numbers = text.unwrap_or_default().split('.');
    [(); 3].map(|()| numbers.next().and_then(|one| one.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(needed: &str, kind: &str) -> Graph {
        let package = |id: &str, rust: &str| {
            format!(r#"{{"id":"{id}","name":"{id}","version":"1.0.0","rust_version":{rust}}}"#)
        };
        let text = format!(
            r#"{{"packages":[{},{},{},{}],"resolve":{{"nodes":[
                {{"id":"heliostat-terminal","deps":[{{"pkg":"between","dep_kinds":[{{"kind":null}}]}}]}},
                {{"id":"between","deps":[{{"pkg":"deep","dep_kinds":[{{"kind":{kind}}}]}}]}}]}}}}"#,
            package("heliostat-terminal", "\"1.88\""),
            package("heliostat-init", "\"1.88\""),
            package("between", "null"),
            package("deep", needed),
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_needs_a_newer_rust_is_named_however_deep_it_is() {
        for kind in ["null", "\"build\""] {
            let faults = check(&graph("\"1.89.0\"", kind));
            assert_eq!(
                faults,
                ["heliostat-terminal is for Rust 1.88, and deep 1.0.0 in it needs 1.89.0"]
            );
        }
    }

    #[test]
    fn what_is_old_enough_says_nothing_or_is_for_tests_is_no_fault() {
        for needed in ["null", "\"1.88\"", "\"1.88.0\"", "\"1.9.0\""] {
            assert_eq!(check(&graph(needed, "null")), [""; 0]);
        }
        assert_eq!(check(&graph("\"1.89\"", "\"dev\"")), [""; 0]);
    }
}
