//! The harness: runs a workload on a system and measures what a person in front of it would get.

pub mod capture;
pub mod cpu;
pub mod drawing;
pub mod figures;
pub mod measure;
pub mod pin;
pub mod report;
pub mod systems;
pub mod targets;
pub mod viewer;
pub mod wire;
