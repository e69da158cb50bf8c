//! Why a test cannot be run on this machine, and whether that may be.
//!
//! This file is a module of all tests that may lack something.

/// Set to `fail`, says that everything is here that the build makes and that setup installs: a test that
/// lacks some of that fails then, as in `make unit`.
const SKIPS: &str = "HELIOSTAT_SKIPS";

/// Why a test cannot be run here.
#[derive(Debug)]
pub enum Lack {
    /// Something that the build makes or that setup installs.
    Part(String),
    /// Something that machines have, or let programs do.
    Machine(String),
}

impl Lack {
    /// Says so.
    ///
    /// # Panics
    ///
    /// Where nothing of that kind may be lacking.
    pub fn skip(&self) {
        match self {
            Self::Part(why) if parts_are_promised() => {
                panic!("this would be skipped, and may not be here ({SKIPS}): {why}")
            }
            Self::Part(why) | Self::Machine(why) => println!("skipped: {why}"),
        }
    }
}

/// Whether everything is said to be here that the build makes and that setup installs.
pub fn parts_are_promised() -> bool {
    std::env::var_os(SKIPS).is_some_and(|skips| skips == "fail")
}
