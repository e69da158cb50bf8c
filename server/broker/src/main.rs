//! The broker: cards, people, terminals, sessions; who is attached where.

fn main() {}
