//! The PAM worker as a process, with the real library: modules that we build, and the system's.

mod site;

mod attacks;
mod conversations;
mod sessions;
mod system;
