//! Two real endpoints on loopback or on a network in memory, with and without bad weather between
//! them.

mod gate;
mod net;
mod relay;
mod support;

mod bursts;
mod fault;
mod frames;
mod loss;
mod messages;
mod mtu;
mod race;
mod tail;
mod tcp;
mod trust;
