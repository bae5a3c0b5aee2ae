//! Where things are: the workspace, the target directory and what is built into it.

use std::{
    env,
    path::{Path, PathBuf, absolute},
};

/// The target triple of the kernel half.
pub const BPF_TARGET: &str = "bpfel-unknown-none";

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    // Cargo sets the variable when it runs us. The path at compile time is wrong once the tree has been moved.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    // How deep below the root it lies depends on the package that runs.
    Path::new(&manifest)
        .ancestors()
        .find(|dir| dir.join("Cargo.lock").exists())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory, absolute.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .and_then(|dir| absolute(dir).ok())
        .unwrap_or_else(|| workspace().join("target"))
}

/// Where tools are installed that only this project needs.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The finished binary.
pub fn tracer() -> PathBuf {
    target().join("release/tracer")
}
