//! A secure shell server of the scene's own, with its own keys, and the command by which backups use it.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use xtask::command::{find, output};

use super::{Room, ledger, made::Made, process::Program, tools::tool};

/// Where the server gives up its privileges; Debian makes it as it starts the service.
const EMPTY: &str = "/run/sshd";

/// The server, and the command by which a client reaches it, such as `ssh -p 22 …`.
pub(crate) fn server(room: &Room, address: SocketAddr) -> Result<(Program, String)> {
    let key = |name: &str| {
        let path = room.dir.join(name);
        let mut keygen = tool("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
        output(keygen.arg(&path), "make a key").map(|_| path)
    };
    let (host, client) = (key("host-key")?, key("client-key")?);
    if !Path::new(EMPTY).exists() {
        ledger::make(Made::Dir(EMPTY.into()), || {
            fs::create_dir(EMPTY).with_context(|| format!("could not make {EMPTY}"))
        })?;
    }
    let config = room.dir.join("sshd_config");
    // A shell within a shell does not read its user's start-up files. These may take long, or wait for a lock that is never freed.
    let text = format!(
        "SetEnv SHLVL=2\n\
         ListenAddress {address}\nHostKey {host}\nAuthorizedKeysFile {client}.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
        host = host.display(),
        client = client.display(),
    );
    fs::write(&config, text).with_context(|| format!("could not write {}", config.display()))?;
    // It starts itself anew for each connection and insists on knowing where it is.
    let sshd = find("sshd").context("there is no sshd: run cargo xtask setup lab")?;
    let server = room.program([
        sshd.into_os_string(),
        "-D".into(),
        "-f".into(),
        config.into(),
    ]);
    let reach = format!(
        "ssh -p {} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes",
        address.port(),
        client.display()
    );
    Ok((server, reach))
}
