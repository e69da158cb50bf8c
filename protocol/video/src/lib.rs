//! H.264 as both ends agree on it.
