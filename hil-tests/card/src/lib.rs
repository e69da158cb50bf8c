//! Virtual smart cards behind QEMU's card device.
