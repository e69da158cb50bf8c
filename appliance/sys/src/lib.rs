//! The terminal's unsafe code, fenced.
