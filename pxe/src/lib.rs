//! The netboot service: dnsmasq and HTTP behind one config file.
//!
//! Three processes: this one reads the config and watches the others; dnsmasq answers DHCP and TFTP; a child without
//! privileges serves HTTP. The pure parts are [`config`] (what an administrator writes), [`dnsmasq`] (the
//! configuration that dnsmasq gets), [`script`] (what iPXE runs) and [`events`] (what dnsmasq's log means).

#![forbid(unsafe_code)]

pub mod config;

pub mod dnsmasq;
pub mod events;
pub mod script;

pub mod image;
pub mod network;
pub mod ports;

pub mod check;
pub mod http;
pub mod run;
