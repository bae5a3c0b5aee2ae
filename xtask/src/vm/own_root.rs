//! A guest with its own root file system: an initramfs of busybox and the tracer, booted by qemu itself.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::kernels::{ACCELERATOR, Kernel};
use crate::{build, paths, setup};

/// Where the tracer is in the guest.
pub(crate) const TRACER: &str = "/tracer";
/// Where the known workloads are in the guest.
pub(crate) const SMOKE: &str = "/guest-smoke";

/// Runs before the script: mounts what a distribution's init would have mounted.
const INIT: &str = "#!/busybox sh
/busybox mkdir -p /bin /proc /sys /dev /tmp
/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
";

/// Boots the kernel with an initramfs that runs the script and powers off.
pub(crate) fn qemu(kernel: &Kernel, script: &str, cpus: u32, dir: &Path) -> Result<Command> {
    let initramfs = pack(script, dir).context("could not make the guest's root file system")?;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-accel", ACCELERATOR, "-cpu", "max"])
        .args(["-smp", &cpus.to_string(), "-m", "1G"])
        .args(["-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 panic=-1 quiet", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs);
    Ok(command)
}

/// Fills a folder, and packs it into a cpio archive.
fn pack(script: &str, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("root");
    let _absent = fs::remove_dir_all(&root);
    fs::create_dir_all(&root)?;
    let mut names = vec!["init", "busybox", &TRACER[1..]];
    fs::copy(setup::busybox()?, root.join("busybox"))?;
    fs::copy(paths::tracer(), root.join(&TRACER[1..]))?;
    if let Some(smoke) = build::guest_smoke()? {
        fs::copy(smoke, root.join(&SMOKE[1..]))?;
        names.push(&SMOKE[1..]);
    }
    // `reboot` ends qemu as well, where the kernel cannot switch the power off.
    fs::write(
        root.join("init"),
        format!("{INIT}{script}poweroff -f\nreboot -f\n"),
    )?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    cpio(&root, &names, &dir.join("root.cpio"))
}

fn cpio(root: &Path, names: &[&str], archive: &Path) -> Result<PathBuf> {
    let file = fs::File::create(archive)?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(file);
    let mut child = cpio.spawn().context("cpio did not start")?;
    child
        .stdin
        .take()
        .context("cpio has no input")?
        .write_all(names.join("\n").as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "cpio ended with {status}");
    Ok(archive.to_owned())
}
