//! modules.dep and modules.softdep: what a module needs before it. Pure.

use std::collections::{HashMap, HashSet};

/// Most modules loaded for the sake of one, against files that name ever more.
const MAX_CHAIN: usize = 256;

/// The name the kernel knows a module by: no directory, no suffix, dashes as underscores.
pub fn normalise(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

/// Where every module lies and what it needs.
#[derive(Debug, Default)]
pub struct DepIndex {
    modules: HashMap<String, Module>,
    soft: HashMap<String, SoftDeps>,
}

#[derive(Debug)]
struct Module {
    path: String,
    needs: Vec<String>,
}

#[derive(Debug, Default)]
struct SoftDeps {
    pre: Vec<String>,
    post: Vec<String>,
}

impl DepIndex {
    /// Reads the texts of modules.dep and modules.softdep (which may be empty).
    pub fn parse(dep: &str, softdep: &str) -> DepIndex {
        let mut index = DepIndex::default();
        for line in dep.lines() {
            if let Some((path, needs)) = line.split_once(':') {
                let needs = needs.split_ascii_whitespace().map(normalise).collect();
                let path = path.trim().to_owned();
                index
                    .modules
                    .insert(normalise(&path), Module { path, needs });
            }
        }
        for line in softdep.lines() {
            index.take_softdep(line);
        }
        index
    }

    fn take_softdep(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
            return;
        };
        let deps = self.soft.entry(normalise(module)).or_default();
        let mut list = None;
        for word in words {
            match word {
                "pre:" => list = Some(&mut deps.pre),
                "post:" => list = Some(&mut deps.post),
                _ => list.iter_mut().for_each(|list| list.push(normalise(word))),
            }
        }
    }

    /// Path of `module` below the module directory, as modules.dep has it.
    pub fn path(&self, module: &str) -> Option<&str> {
        self.modules.get(module).map(|entry| entry.path.as_str())
    }

    /// The modules to load for `module`, itself among them, in an order that satisfies all that is
    /// known of their needs. Empty when there is no such module.
    pub fn load_order(&self, module: &str) -> Vec<&str> {
        let mut walk = Walk {
            index: self,
            seen: HashSet::new(),
            order: Vec::new(),
        };
        walk.visit(module);
        walk.order
    }

    /// How many modules there are.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// True when there is no module at all.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

struct Walk<'a> {
    index: &'a DepIndex,
    seen: HashSet<&'a str>,
    order: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    /// Depth first, needs before the module. A circle is cut where it closes.
    fn visit(&mut self, module: &str) {
        let Some((name, entry)) = self.index.modules.get_key_value(module) else {
            return;
        };
        if self.seen.len() == MAX_CHAIN || !self.seen.insert(name) {
            return;
        }
        let soft = self.index.soft.get(name);
        let pre = soft.into_iter().flat_map(|soft| &soft.pre);
        // modules.dep lists the nearest need first and the farthest last.
        for need in pre.chain(entry.needs.iter().rev()) {
            self.visit(need);
        }
        self.order.push(name);
        for later in soft.into_iter().flat_map(|soft| &soft.post) {
            self.visit(later);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEP: &str = "\
kernel/drivers/gpu/drm/virtio/virtio-gpu.ko: kernel/drivers/virtio/virtio_dma_buf.ko kernel/drivers/gpu/drm/drm_kms_helper.ko kernel/drivers/gpu/drm/drm.ko
kernel/drivers/virtio/virtio_dma_buf.ko:
kernel/drivers/gpu/drm/drm_kms_helper.ko: kernel/drivers/gpu/drm/drm.ko
kernel/drivers/gpu/drm/drm.ko.xz:
kernel/fs/a.ko: kernel/fs/b.ko
kernel/fs/b.ko: kernel/fs/a.ko
";
    const SOFTDEP: &str = "# Soft dependencies\nsoftdep virtio_gpu pre: a post: gone\nsoftdep x\n";

    fn index() -> DepIndex {
        DepIndex::parse(DEP, SOFTDEP)
    }

    #[test]
    fn needs_come_before_the_module() {
        let index = index();
        let order = index.load_order("virtio_gpu");
        assert_eq!(
            order,
            [
                "b",
                "a",
                "drm",
                "drm_kms_helper",
                "virtio_dma_buf",
                "virtio_gpu"
            ]
        );
        assert_eq!(
            index.path("virtio_gpu"),
            Some("kernel/drivers/gpu/drm/virtio/virtio-gpu.ko")
        );
    }

    #[test]
    fn a_circle_is_cut_and_an_unknown_module_is_nothing() {
        assert_eq!(index().load_order("a").len(), 2);
        assert!(index().load_order("nope").is_empty());
    }

    proptest! {
        #[test]
        fn every_need_precedes_its_module_when_there_is_no_circle(edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let needs = |n: usize| edges.iter().filter(move |(from, to)| *from == n && to < from).map(|(_, to)| format!("m{to}.ko"));
            let dep: String = (0..12).map(|n| format!("k/m{n}.ko: {}\n", needs(n).collect::<Vec<_>>().join(" "))).collect();
            let index = DepIndex::parse(&dep, "");
            let order = index.load_order("m11");
            prop_assert_eq!(order.last(), Some(&"m11"));
            for (at, module) in order.iter().enumerate() {
                for need in &index.modules[*module].needs {
                    prop_assert!(order[..at].contains(&need.as_str()));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(dep in "\\PC{0,80}(:\\PC{0,20})?", soft in "softdep \\PC{0,60}") {
            let index = DepIndex::parse(&dep, &soft);
            for name in index.modules.keys() {
                index.load_order(name);
            }
        }
    }
}
