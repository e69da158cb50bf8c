//! Checks that guard the shape of the workspace.

fn main() {}
