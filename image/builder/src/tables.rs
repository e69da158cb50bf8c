//! The tables by which PID 1 loads modules, in the formats of `depmod`.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Module;

/// `modules.dep`: each module with everything it needs, such that loading from right to left works.
pub fn dep_table(modules: &BTreeMap<String, Module>) -> String {
    let mut table = String::new();
    for module in modules.values() {
        let mut order = Vec::new();
        visit(module, modules, &mut BTreeSet::new(), &mut order);
        let needed = order
            .iter()
            .rev()
            .skip(1)
            .map(|name| format!(" {}", modules[*name].path));
        table.extend(
            [module.path.as_str(), ":"]
                .into_iter()
                .map(str::to_owned)
                .chain(needed),
        );
        table.push('\n');
    }
    table
}

/// Appends the module's dependencies and then itself, each once; `seen` ends a circle.
fn visit<'a>(
    module: &'a Module,
    modules: &'a BTreeMap<String, Module>,
    seen: &mut BTreeSet<&'a str>,
    order: &mut Vec<&'a str>,
) {
    if !seen.insert(&module.name) {
        return;
    }
    for needed in module
        .info
        .depends
        .iter()
        .filter_map(|name| modules.get(name))
    {
        visit(needed, modules, seen, order);
    }
    order.push(&module.name);
}

/// `modules.alias`: which module drives which device.
pub fn alias_table(modules: &BTreeMap<String, Module>) -> String {
    let lines = |m: &Module| {
        m.info
            .aliases
            .iter()
            .map(|a| format!("alias {a} {}\n", m.name))
            .collect::<String>()
    };
    modules.values().map(lines).collect()
}

/// `modules.softdep`: what should be loaded before and after.
pub fn softdep_table(modules: &BTreeMap<String, Module>) -> String {
    let mut table = String::new();
    for module in modules.values() {
        let present = |names: &[String]| -> String {
            names
                .iter()
                .filter(|n| modules.contains_key(*n))
                .map(|n| format!(" {n}"))
                .collect()
        };
        let (before, after) = (
            present(&module.info.soft_before),
            present(&module.info.soft_after),
        );
        let part = |label: &str, names: &str| {
            if names.is_empty() {
                String::new()
            } else {
                format!(" {label}:{names}")
            }
        };
        if !(before.is_empty() && after.is_empty()) {
            table += &format!(
                "softdep {}{}{}\n",
                module.name,
                part("pre", &before),
                part("post", &after)
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Info;
    use std::sync::Arc;

    fn module(name: &str, depends: &[&str]) -> (String, Module) {
        let info = Info {
            depends: depends.iter().map(|d| (*d).to_owned()).collect(),
            ..Info::default()
        };
        let path = format!("kernel/{name}.ko");
        (
            name.to_owned(),
            Module {
                name: name.into(),
                path,
                data: Arc::default(),
                info,
            },
        )
    }

    #[test]
    fn loading_a_line_of_modules_dep_from_right_to_left_meets_every_need() {
        let modules = BTreeMap::from([
            module("top", &["left", "right"]),
            module("left", &["base"]),
            module("right", &["left", "base"]),
            module("base", &[]),
        ]);
        for line in dep_table(&modules).lines() {
            let (path, needed) = line.split_once(':').unwrap();
            let mut loaded = Vec::new();
            for path in needed.split_whitespace().rev().chain([path]) {
                let name = path
                    .strip_prefix("kernel/")
                    .unwrap()
                    .strip_suffix(".ko")
                    .unwrap();
                for need in &modules[name].info.depends {
                    assert!(loaded.contains(need), "{line}: {name} before {need}");
                }
                loaded.push(name.to_owned());
            }
        }
    }

    #[test]
    fn modules_in_a_circle_still_make_a_finite_table() {
        let modules = BTreeMap::from([module("a", &["b"]), module("b", &["a"])]);
        assert_eq!(dep_table(&modules).lines().count(), 2);
    }
}
