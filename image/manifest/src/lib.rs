//! What a netboot image is: names, sizes, hashes.
