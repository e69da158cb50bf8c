//! Buffers that the driver has seen. To import one costs it a millisecond, so that it is done once.

use crate::dmabuf::{Identity, MAX_PLANES};
use crate::library::{Error, Surface};

/// Buffers that are held. Clients draw into three or four in turn; those of a client that makes a new
/// one for every picture and never says that the old ones are gone leave in the order of their use.
const MAX_HELD: usize = 16;

/// A buffer and how it lies: the same memory described otherwise is another picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub format: u32,
    pub modifier: u64,
    /// Each plane's buffer, offset and pitch; the rest is empty.
    pub planes: [(Identity, u32, u32); MAX_PLANES],
}

impl Key {
    fn is_of(&self, buffer: Identity) -> bool {
        self.planes.iter().any(|(identity, ..)| *identity == buffer)
    }
}

/// What is held, the least recently used first.
pub(super) struct Imports<T = Surface> {
    held: Vec<(Key, T)>,
}

impl<T> Default for Imports<T> {
    fn default() -> Self {
        Self {
            held: Vec::with_capacity(MAX_HELD),
        }
    }
}

impl<T> Imports<T> {
    /// Where a buffer is held, once it has been imported.
    pub fn find(
        &mut self,
        key: &Key,
        import: impl FnOnce() -> Result<T, Error>,
    ) -> Result<usize, Error> {
        let last = match self.held.iter().position(|(held, _)| held == key) {
            Some(at) => {
                self.held[at..].rotate_left(1);
                self.held.len() - 1
            }
            None => {
                let imported = import()?;
                // Described anew, the old description will not come again.
                self.forget(key.planes[0].0);
                if self.held.len() == MAX_HELD {
                    self.held.remove(0);
                }
                self.held.push((*key, imported));
                self.held.len() - 1
            }
        };
        Ok(last)
    }

    /// What `find` has found.
    pub fn get(&self, at: usize) -> &T {
        &self.held[at].1
    }

    /// Gives back what is of a buffer.
    pub fn forget(&mut self, buffer: Identity) {
        self.held.retain(|(key, _)| !key.is_of(buffer));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(inode: u64, pitch: u32) -> Key {
        let mut planes = [(Identity::default(), 0, 0); MAX_PLANES];
        planes[0] = (Identity { device: 1, inode }, 0, pitch);
        Key {
            format: 1,
            modifier: 0,
            planes,
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_asked_for_and_little_is_held(
            asked in prop::collection::vec((1u64..24, 1u32..3, any::<bool>()), 0..200),
        ) {
            let mut imports = Imports::<(u64, u32)>::default();
            for (inode, pitch, forget) in asked {
                let at = imports.find(&key(inode, pitch), || Ok((inode, pitch))).unwrap();
                prop_assert_eq!(*imports.get(at), (inode, pitch));
                prop_assert!(imports.held.len() <= MAX_HELD);
                let of_it = imports.held.iter().filter(|(key, _)| key.planes[0].0.inode == inode);
                prop_assert_eq!(of_it.count(), 1);
                if forget {
                    imports.forget(key(inode, 0).planes[0].0);
                    let held = |(key, _): &(Key, _)| key.planes[0].0.inode == inode;
                    prop_assert!(!imports.held.iter().any(held));
                }
            }
        }
    }

    #[test]
    fn those_used_again_and_again_stay() {
        let mut imports = Imports::<u64>::default();
        let mut made = 0;
        for other in 0..100 {
            for inode in [1, 2, 3, 1000 + other] {
                imports
                    .find(&key(inode, 1), || {
                        made += 1;
                        Ok(inode)
                    })
                    .unwrap();
            }
        }
        assert_eq!(made, 103);
    }
}
