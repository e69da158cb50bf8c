//! The netboot service: dnsmasq and HTTP behind one config file.

fn main() {}
