//! The broker: cards, people, terminals, sessions; who is attached where.
//!
//! [`directory`] decides; everything else carries: [`hub`] owns the directory and does what it asks
//! for, with a task for each terminal ([`terminal`]), each session ([`session`]) and each
//! administrator ([`admin`], [`survey`], [`metrics`]), and a thread for the [`store`].
//! People are PAM's: [`worker`] speaks with the process that is [`pam_worker`], one a login.

pub mod accounts;
pub mod admin;
mod allowance;
pub mod audit;
mod card_ids;
pub mod check;
pub mod config;
pub mod control_group;
pub mod directory;
pub mod exec;
pub mod greetd;
pub mod groups;
pub mod hooks;
pub mod hub;
pub mod keep_log;
pub mod launcher;
pub mod logins;
mod logs;
pub mod metrics;
pub mod network;
pub mod owner;
pub mod pam;
pub mod pam_worker;
pub mod passing;
pub mod policy;
pub mod policy_file;
pub mod process;
pub mod proof;
pub mod remove_folder;
pub mod run;
pub mod runtime_dir;
pub mod session;
pub mod session_file;
mod speaker;
pub mod store;
pub mod survey;
mod sys;
pub mod tally;
pub mod terminal;
pub mod uids;
pub mod worker;
mod x11_sockets;
