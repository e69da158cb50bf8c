//! What becomes of memory that is freed.

/// From now on memory is overwritten when it is freed, by whatever code of this process, so that
/// what was in it does not wait for the next owner: the pictures that a codec refers to, parts of
/// frames on their way. Returns whether the C library can do so.
///
/// Pieces of a few hundred bytes are not covered. Those of some hundred kilobytes and more go back
/// to the kernel, which gives nothing of one process to another.
pub fn overwrite_what_is_freed() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it sets a number inside the allocator, under the allocator's lock, and takes any.
        let done = unsafe { nix::libc::mallopt(nix::libc::M_PERTURB, 0x5a) };
        done == 1
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_to_string};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Pieces that come from the heap and not from the kernel.
    const PIECE: usize = 64 << 10;
    /// As many bytes of a secret in a row are the secret.
    const RUN: usize = 256;

    fn secret(seed: u8, n: usize) -> u8 {
        ((n as u32).wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed
    }

    /// Fills a piece of memory with a secret and frees it.
    fn leave(seed: u8) {
        let piece: Vec<u8> = (0..PIECE).map(|n| secret(seed, n)).collect();
        assert_eq!(std::hint::black_box(&piece).len(), PIECE);
    }

    /// Whether the secret is to be found in the memory of this process.
    fn is_found(seed: u8) -> bool {
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = read_to_string("/proc/self/maps").unwrap();
        let places = maps.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_heap = words.len() == 5 || words.get(5) == Some(&"[heap]");
            let (start, end) = words[0].split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            (is_heap && words[1].starts_with("rw")).then_some((number(start)?, number(end)?))
        });
        let places: Vec<(u64, u64)> = places.collect();
        let mut piece = [0; PIECE / 8];
        places.into_iter().any(|(start, end)| {
            (start..end).step_by(piece.len() / 2).any(|at| {
                let got = memory.read_at(&mut piece, at).unwrap_or(0);
                holds(&piece[..got], seed)
            })
        })
    }

    /// Looks for the secret from its middle on, where no allocator writes.
    fn holds(bytes: &[u8], seed: u8) -> bool {
        let middle = PIECE / 2;
        bytes.windows(RUN).any(|run| {
            run.iter()
                .enumerate()
                .all(|(n, byte)| *byte == secret(seed, middle + n))
        })
    }

    #[test]
    fn what_was_freed_is_found_nowhere() {
        leave(1);
        assert!(is_found(1), "else this test would find nothing anyway");
        assert!(overwrite_what_is_freed());
        leave(2);
        assert!(!is_found(2));
    }
}
