//! Two real endpoints on loopback, with and without a bad network between them.

mod gate;
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
