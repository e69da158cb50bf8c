//! A segment: a tree packed as a cpio archive and compressed for the kernel.

use anyhow::{Result, bail};
use heliostat_manifest::{Entry, Segment};

use crate::cpio;
use crate::tree::Tree;

/// The level for everyday builds: a second or two.
pub const FAST_LEVEL: i32 = 6;
/// The level for releases: the smallest that the kernel's decoder takes.
pub const RELEASE_LEVEL: i32 = 19;
/// 8 MiB, the largest window every zstd decoder must take.
const MAX_WINDOW_LOG: u32 = 23;

/// A packed segment.
pub struct Packed {
    /// Its entry in the manifest.
    pub segment: Segment,
    /// The compressed archive; padded to 4 bytes, since a further segment may follow it in memory.
    pub bytes: Vec<u8>,
}

/// Packs a tree; the same tree and level give the same bytes.
pub fn pack(name: &str, tree: &Tree, level: i32) -> Result<Packed> {
    let archive = cpio::write(tree);
    let bytes = compress(&archive, level)?;
    let contents = tree.iter().map(|(path, node)| Entry {
        path: path.to_owned(),
        bytes: node.bytes(),
        package: node.package.clone(),
    });
    let segment = Segment {
        name: name.to_owned(),
        file: file_name(name),
        required: name == "base",
        unpacked_bytes: archive.len() as u64,
        contents: contents.collect(),
    };
    Ok(Packed { segment, bytes })
}

/// The name of the file that carries a segment.
pub fn file_name(segment: &str) -> String {
    match segment {
        "base" => "initramfs.zst".to_owned(),
        other => format!("initramfs-{other}.zst"),
    }
}

/// One frame, one thread, a window that the kernel accepts.
fn compress(archive: &[u8], level: i32) -> Result<Vec<u8>> {
    if !(1..=RELEASE_LEVEL).contains(&level) {
        bail!("the compression level is {level}, expected 1 to {RELEASE_LEVEL}");
    }
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(false)?;
    compressor.window_log(MAX_WINDOW_LOG)?;
    let mut bytes = compressor.compress(archive)?;
    // The kernel skips zeros between archives.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.file("usr/share/a", b"text ".repeat(5_000_000), 0o644, "p")
            .unwrap();
        tree
    }

    #[test]
    fn packing_twice_gives_the_same_bytes_and_they_unpack() {
        for level in [1, FAST_LEVEL] {
            let (one, two) = (
                pack("base", &tree(), level).unwrap(),
                pack("base", &tree(), level).unwrap(),
            );
            assert_eq!(one.bytes, two.bytes);
            let archive = zstd::stream::decode_all(&one.bytes[..one.bytes.len() / 4 * 4]);
            let archive = archive
                .or_else(|_| zstd::bulk::decompress(trim(&one.bytes), 1 << 26))
                .unwrap();
            assert_eq!(archive.len() as u64, one.segment.unpacked_bytes);
        }
    }

    fn trim(bytes: &[u8]) -> &[u8] {
        let size = zstd::zstd_safe::find_frame_compressed_size(bytes).unwrap();
        assert!(bytes.len() - size < 4 && bytes[size..].iter().all(|b| *b == 0));
        &bytes[..size]
    }

    #[test]
    fn the_window_stays_within_what_every_decoder_takes() {
        let bytes = pack("base", &tree(), FAST_LEVEL).unwrap().bytes;
        // RFC 8878, 3.1.1.1: without the single-segment flag a window descriptor follows the descriptor.
        let single_segment = bytes[4] & 0x20 != 0;
        assert!(
            !single_segment,
            "a single segment would make the window as large as the archive"
        );
        assert!(10 + (bytes[5] >> 3) as u32 <= MAX_WINDOW_LOG);
    }

    #[test]
    fn a_level_out_of_range_is_refused() {
        for level in [-1, 0, 20, 22] {
            assert!(pack("base", &Tree::default(), level).is_err());
        }
    }
}
