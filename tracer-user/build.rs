//! Tells the crate where the eBPF object is: in `TRACER_BPF_OBJECT`, or where `cargo xtask build` leaves it.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Below cargo's target directory.
const OBJECT: &str = "bpfel-unknown-none/bpf/tracer-ebpf";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TRACER_BPF_OBJECT");
    let named = env::var_os("TRACER_BPF_OBJECT").map(PathBuf::from);
    match named.or_else(built).filter(|object| object.is_file()) {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", object.display());
            println!("cargo::rustc-env=TRACER_BPF_OBJECT={}", object.display());
        }
        None => println!("cargo::error=the eBPF object is not built yet: run `cargo xtask build`"),
    }
}

/// The object in the target directory, which is somewhere above this script's own output directory.
fn built() -> Option<PathBuf> {
    let out = env::var_os("OUT_DIR")?;
    Path::new(&out)
        .ancestors()
        .map(|dir| dir.join(OBJECT))
        .find(|object| object.exists())
}
