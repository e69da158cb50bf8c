//! The rig: terminals as QEMU machines, in namespaces of their own.
