//! One person's running desktop: a headless Wayland compositor whose scene is held by a terminal.
//!
//! ```text
//!   clients ──Wayland──► App (one thread, calloop) ──channels──► links (one thread, tokio) ──QUIC──► terminal
//!                         windows, scene, tiles                  tickets, broker's socket
//! ```
//!
//! Each surface is a layer whose changed tiles are sent ([`content`]), and a frame says what else has
//! changed ([`scene`]). Nothing is composed here, but for outputs of which a terminal cannot hold all
//! layers (`flat`).
#![deny(unsafe_code)]
#![cfg_attr(
    not(feature = "gpu"),
    allow(dead_code, reason = "what films by hardware need has no user then")
)]

mod allowance;
mod answers;
pub mod app;
mod attach;
mod autostart;
mod callbacks;
mod children;
pub mod config;
pub mod content;
mod cursor;
mod desk;
mod direct;
mod few;
pub mod flat;
mod focus;
mod frames;
pub mod gpu;
mod healing;
mod idle;
mod input;
mod keys;
mod layouts;
pub mod link;
pub mod memory;
mod menu;
mod offset;
mod only_films;
mod order;
mod outputs;
mod pace;
mod parts;
mod presentation;
mod progress;
mod protocols;
mod quota;
mod resume;
mod rhythm;
mod rhythms;
pub mod scene;
mod shares;
mod sight;
mod squeeze;
mod stage;
mod stats;
mod surface;
#[allow(unsafe_code)]
mod sys;
mod threads;
mod titles;
mod toplevel;
mod videos;
mod way;
mod window;
pub mod x11;

#[cfg(test)]
mod tests;

pub use sys::take_inherited;
