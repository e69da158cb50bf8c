//! The terminal's one binary.

fn main() {}
