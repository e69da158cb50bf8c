//! The admin's command-line tool.

fn main() {}
