//! The tools that build the kernel half: a compiler that has the source of its own `core`, and a `bpf-linker`.
//!
//! `bpfel-unknown-none` has no prebuilt `core`, so `-Z build-std=core` needs the library source of exactly the
//! compiler's version. Any compiler that has it will do, stable ones with `RUSTC_BOOTSTRAP=1`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{self, find},
    paths,
};

/// The release of bpf-linker that is installed when none is there.
pub const LINKER_VERSION: &str = "0.13.0";
/// Where Debian's compiler is.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A Rust compiler.
pub struct Compiler {
    /// The program: a path, or a name on PATH.
    pub rustc: PathBuf,
    /// Its version, "1.95.0".
    pub version: String,
    /// The triple it runs on.
    pub host: String,
    /// The major version of its LLVM.
    pub llvm: u32,
    sysroot: PathBuf,
}

impl Compiler {
    /// The compiler cargo uses by default.
    pub fn active() -> Result<Self> {
        Self::describe(Path::new("rustc"))
    }

    /// Debian's own, when it is installed.
    pub fn debian() -> Option<Self> {
        Path::new(DEBIAN_RUSTC)
            .exists()
            .then(|| Self::describe(Path::new(DEBIAN_RUSTC)).ok())
            .flatten()
    }

    /// Asks the compiler what it is.
    fn describe(rustc: &Path) -> Result<Self> {
        let asking = format!("ask {} for its version", rustc.display());
        let verbose = command::output(Command::new(rustc).arg("-vV"), &asking)?;
        let sysroot = command::output(Command::new(rustc).args(["--print", "sysroot"]), &asking)?;
        let field = |name: &str| {
            field(&verbose, name).with_context(|| format!("could not {asking}: no {name}"))
        };
        Ok(Self {
            rustc: rustc.to_owned(),
            version: field("release")?.to_owned(),
            host: field("host")?.to_owned(),
            llvm: field("LLVM version")?
                .split('.')
                .next()
                .unwrap_or_default()
                .parse()
                .context("odd LLVM version")?,
            sysroot: sysroot.trim().into(),
        })
    }

    /// Whether the source of its `core` is there.
    pub fn has_core_source(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    }

    /// Whether it came with Debian's packages.
    pub fn is_debian(&self) -> bool {
        self.sysroot == Path::new("/usr")
    }

    /// The clippy of exactly this compiler, when it is there.
    pub fn clippy(&self) -> Option<PathBuf> {
        let driver = self.sysroot.join("bin/clippy-driver");
        let asked = command::output(
            Command::new(&driver).args(["--rustc", "--version"]),
            "ask clippy for its compiler",
        );
        asked
            .ok()?
            .contains(&format!("rustc {} ", self.version))
            .then_some(driver)
    }
}

/// The value after `name: ` in the output of `rustc -vV`.
fn field<'a>(verbose: &'a str, name: &str) -> Option<&'a str> {
    verbose
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The compiler and the linker for the kernel half.
pub struct Toolchain {
    /// A compiler with the source of its `core`.
    pub compiler: Compiler,
    /// A bpf-linker with an LLVM that reads this compiler's bitcode.
    pub linker: PathBuf,
}

impl Toolchain {
    /// The tools that are there, if they suffice: rustup's compiler first, so that one compiler builds both halves.
    pub fn find() -> Option<Self> {
        let compilers = [Compiler::active().ok(), Compiler::debian()];
        compilers
            .into_iter()
            .flatten()
            .filter(Compiler::has_core_source)
            .find_map(|compiler| {
                let linker = find_linker(&compiler)?;
                Some(Self { compiler, linker })
            })
    }

    /// Makes `cargo` build the kernel half: `subcommand` is build or clippy.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = command::cargo();
        cargo
            .arg(subcommand)
            .args(["--package", "tracer-ebpf", "--bin", "tracer-ebpf"])
            .args([
                "--profile",
                "bpf",
                "--target",
                paths::BPF_TARGET,
                "-Z",
                "build-std=core",
            ])
            .env("RUSTC", &self.compiler.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(&[]));
        cargo
    }

    /// The compiler's flags for the kernel half and some more, in cargo's encoding.
    pub fn flags(&self, more: &[&str]) -> String {
        let linker = format!("linker={}", self.linker.display());
        let arch = format!("bpf_target_arch=\"{}\"", env::consts::ARCH);
        let ours = ["-C", &linker, "-C", "link-arg=--btf", "--cfg", &arch];
        ours.iter()
            .chain(more)
            .copied()
            .collect::<Vec<_>>()
            .join("\u{1f}")
    }
}

/// Where a bpf-linker made with this major version of LLVM is installed.
pub fn linker_root(llvm: u32) -> PathBuf {
    paths::tools().join(format!("bpf-linker-{LINKER_VERSION}-llvm{llvm}"))
}

/// A bpf-linker that reads what `compiler` writes: LLVM reads bitcode of its own and of older major versions.
pub fn find_linker(compiler: &Compiler) -> Option<PathBuf> {
    let ours =
        (compiler.llvm..compiler.llvm + 3).map(|llvm| linker_root(llvm).join("bin/bpf-linker"));
    ours.into_iter()
        .find(|file| file.exists())
        .or_else(|| find("bpf-linker").filter(|file| suits(file, compiler)))
}

/// Whether somebody else's bpf-linker is new enough, in itself and in its LLVM.
fn suits(linker: &Path, compiler: &Compiler) -> bool {
    let version = command::output(
        Command::new(linker).arg("--version"),
        "ask bpf-linker for its version",
    );
    let new_enough = version.is_ok_and(|text| {
        text.split_whitespace().nth(1).and_then(numbers) >= numbers(LINKER_VERSION)
    });
    new_enough && fs::read(linker).is_ok_and(|bytes| linked_llvm(&bytes) >= Some(compiler.llvm))
}

/// The major version of the LLVM library that this executable asks the loader for; `None` when LLVM is inside it.
fn linked_llvm(executable: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"libLLVM";
    let at = executable
        .windows(NAME.len())
        .position(|window| window == NAME)?
        + NAME.len();
    let rest = executable[at..]
        .iter()
        .skip_while(|byte| !byte.is_ascii_digit())
        .take_while(|byte| byte.is_ascii_digit());
    String::from_utf8(rest.copied().collect())
        .ok()?
        .parse()
        .ok()
}

/// "0.13.0" as numbers that compare in the right order.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_version_is_found_by_its_whole_name() {
        let said = "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.2\n";
        assert_eq!(field(said, "host"), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(field(said, "LLVM version"), Some("22.1.2"));
        assert_eq!(field(said, "release"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("0.13.0") > numbers("0.9.12"));
        assert!(numbers("not a version") < numbers("0.1"));
    }

    #[test]
    fn the_linked_llvm_is_read_from_the_library_name() {
        assert_eq!(linked_llvm(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(linked_llvm(b"\0libLLVM-19.so.1\0"), Some(19));
        assert_eq!(linked_llvm(b"\0libc.so.6\0"), None);
    }
}
