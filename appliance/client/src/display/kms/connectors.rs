//! Looking at connectors, at each for itself.

use std::io::{self, ErrorKind};

use drm::control::connector::Handle;
use tracing::{debug, warn};

/// What came of looking at connectors.
#[derive(Debug)]
pub struct Looked<T> {
    /// What they say.
    pub found: Vec<T>,
    /// Those that are there, and of which nothing is known: what they have stays as it was.
    pub unread: Vec<Handle>,
}

/// Looks at all of them; one that cannot be looked at is in the way of no other.
pub fn look_at<T>(handles: &[Handle], mut get: impl FnMut(Handle) -> io::Result<T>) -> Looked<T> {
    let mut looked = Looked {
        found: Vec::new(),
        unread: Vec::new(),
    };
    for &handle in handles {
        match get(handle) {
            Ok(info) => looked.found.push(info),
            // Those behind a hub go with it, and may do so since they were listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                debug!(?handle, "a connector has gone");
            }
            Err(error) => {
                warn!(?handle, %error, "a connector cannot be looked at");
                looked.unread.push(handle);
            }
        }
    }
    looked
}

#[cfg(test)]
mod tests {
    use drm::control::from_u32;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_connector_that_cannot_be_looked_at_is_in_the_way_of_no_other() {
        let handle = |number| from_u32::<Handle>(number).unwrap();
        let handles = [1, 2, 3, 4].map(handle);
        let looked = look_at(&handles, |of| match u32::from(of) {
            1 => Err(Errno::EIO.into()),
            3 => Err(Errno::ENOENT.into()),
            _ => Ok(of),
        });
        assert_eq!(looked.found, [handle(2), handle(4)]);
        assert_eq!(looked.unread, [handle(1)]);
    }
}
