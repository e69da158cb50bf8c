//! Builds the netboot image from distribution packages.

fn main() {}
