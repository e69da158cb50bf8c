//! The lossless tile codec.
