//! Small Wayland clients that draw what tests and benches look for.

fn main() {}
