//! lighttpd with a configuration of its own.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};

use super::{Room, files::open_to_others, process::Program};

/// A lighttpd for these files, in the foreground, with nothing outside the room's directory.
pub(crate) fn lighttpd(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    open_to_others(&room.dir)?;
    let config = room.dir.join("lighttpd.conf");
    let text = format!(
        r#"server.document-root = "{files}"
server.bind = "{ip}"
server.port = {port}
server.errorlog = "{dir}/lighttpd.log"
server.max-keep-alive-requests = 1000000
mimetype.assign = ( ".txt" => "text/plain" )
"#,
        files = files.display(),
        ip = address.ip(),
        port = address.port(),
        dir = room.dir.display(),
    );
    fs::write(&config, text).with_context(|| format!("could not write {}", config.display()))?;
    Ok(room.program(["lighttpd", "-D", "-f"]).with([config]))
}
