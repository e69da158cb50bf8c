//! Third parties and our virtual cards, through pcscd and a virtual reader, each test in namespaces
//! of its own.

mod opensc;
mod pcsc_client;
mod world;
mod yubico;
