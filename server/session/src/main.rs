//! One person's running desktop: compositor, scene, session link.

fn main() {}
