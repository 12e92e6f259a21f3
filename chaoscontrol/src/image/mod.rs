//! What a machine boots: the guest kernel and the initramfs.
