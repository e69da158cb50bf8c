//! The kernel's initramfs format: `newc` cpio, always the same bytes for the same tree.

use crate::tree::{Kind, Tree};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";

const S_IFDIR: u32 = 0o040000;
const S_IFREG: u32 = 0o100000;
const S_IFLNK: u32 = 0o120000;
const S_IFCHR: u32 = 0o020000;

/// Writes the tree as one archive: sorted by path, owned by root, with no times, inodes counted from 1.
///
/// The archive's length is a multiple of 4, which lets archives and compressed archives follow one another.
pub fn write(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::with_capacity(tree.content_bytes() as usize + 200 * tree.len());
    for (index, (path, node)) in tree.iter().enumerate() {
        let (mode, device, data): (u32, (u32, u32), &[u8]) = match &node.kind {
            Kind::Dir { mode } => (S_IFDIR | mode, (0, 0), &[]),
            Kind::File { data, mode } => (S_IFREG | mode, (0, 0), data),
            Kind::Symlink { target } => (S_IFLNK | 0o777, (0, 0), target.as_bytes()),
            Kind::CharDevice { mode, major, minor } => (S_IFCHR | mode, (*major, *minor), &[]),
        };
        let links = if matches!(node.kind, Kind::Dir { .. }) {
            2
        } else {
            1
        };
        entry(
            &mut out,
            Header {
                inode: index as u32 + 1,
                mode,
                links,
                device,
            },
            path,
            data,
        );
    }
    entry(
        &mut out,
        Header {
            inode: 0,
            mode: 0,
            links: 1,
            device: (0, 0),
        },
        TRAILER,
        &[],
    );
    out
}

struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
}

fn entry(out: &mut Vec<u8>, header: Header, name: &str, data: &[u8]) {
    let (uid, gid, mtime, dev_major, dev_minor, check) = (0, 0, 0, 0, 0, 0);
    let fields = [
        header.inode,
        header.mode,
        uid,
        gid,
        header.links,
        mtime,
        data.len() as u32,
        dev_major,
        dev_minor,
        header.device.0,
        header.device.1,
        name.len() as u32 + 1,
        check,
    ];
    out.extend_from_slice(MAGIC.as_bytes());
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(data);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn sample() -> Tree {
        let mut tree = Tree::default();
        tree.file("etc/hello", b"hi\n".to_vec(), 0o644, "a")
            .unwrap();
        tree.symlink("init", "usr/bin/x", "a").unwrap();
        tree.device("dev/console", 0o600, 5, 1, "a").unwrap();
        tree
    }

    #[test]
    fn a_small_tree_has_exactly_these_bytes() {
        let mut tree = Tree::default();
        tree.file("a", b"xyz".to_vec(), 0o644, "p").unwrap();
        let expected = "070701000000010000\
            81a400000000000000000000000100000000000000030000000000000000000000000000000000000002\
            00000000a\0xyz\0\
            07070100000000000000000000000000000000000000010000000000000000000000000000000000000000\
            000000000000000b00000000TRAILER!!!\0\0\0\0";
        assert_eq!(String::from_utf8(write(&tree)).unwrap(), expected);
    }

    #[test]
    fn the_order_of_insertion_does_not_show() {
        let mut other = Tree::default();
        other.device("dev/console", 0o600, 5, 1, "a").unwrap();
        other.symlink("init", "usr/bin/x", "a").unwrap();
        other
            .file("etc/hello", b"hi\n".to_vec(), 0o644, "a")
            .unwrap();
        assert_eq!(write(&sample()), write(&other));
    }

    #[test]
    fn gnu_cpio_lists_what_was_put_in() {
        let Ok(mut cpio) = Command::new("cpio")
            .args(["-itv", "--quiet", "--numeric-uid-gid"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            return println!("skipped: cpio is not installed");
        };
        cpio.stdin
            .take()
            .unwrap()
            .write_all(&write(&sample()))
            .unwrap();
        let listing = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<Vec<&str>> = listing
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        let of = |name: &str| {
            lines
                .iter()
                .find(|l| l.contains(&name))
                .unwrap_or_else(|| panic!("{name} in {listing}"))
        };
        assert!(of("dev/console")[0].starts_with("crw-------"));
        assert!(of("init").ends_with(&["init", "->", "usr/bin/x"]));
        assert_eq!(
            (of("etc/hello")[0], of("etc/hello")[4]),
            ("-rw-r--r--", "3")
        );
        assert!(of("etc")[0].starts_with("drwxr-xr-x"));
    }
}
