//! Apache with a configuration of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Room, files::open_to_others, process::Program};

/// Where Debian keeps Apache's modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// How Apache serves connections.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// A process for each connection.
    Prefork,
    /// Processes with a pool of threads, and a thread that waits for all idle connections.
    Event,
}

/// An Apache server for these files, in the foreground, with nothing outside the room's directory; with `gzip` it compresses them.
pub(crate) fn apache(
    room: &Room,
    address: SocketAddr,
    files: &Path,
    form: Form,
    gzip: bool,
) -> Result<Program> {
    ensure!(
        Path::new(MODULES).exists(),
        "there is no Apache in {MODULES}: run cargo xtask setup lab"
    );
    open_to_others(&room.dir)?;
    let config = config(&room.dir, address, files, form, gzip)?;
    Ok(room
        .program(["apache2", "-D", "FOREGROUND", "-f"])
        .with([config]))
}

fn config(
    dir: &Path,
    address: SocketAddr,
    files: &Path,
    form: Form,
    gzip: bool,
) -> Result<PathBuf> {
    let (dir_name, files) = (dir.display(), files.display());
    let form = match form {
        Form::Prefork => {
            "LoadModule mpm_prefork_module MODULES/mod_mpm_prefork.so\nStartServers 6\nMinSpareServers 4\nMaxRequestWorkers 16"
        }
        Form::Event => {
            "LoadModule mpm_event_module MODULES/mod_mpm_event.so\nStartServers 1\nThreadsPerChild 16\nMinSpareThreads 4\n\
             MaxRequestWorkers 32"
        }
    };
    let gzip = if gzip {
        "LoadModule filter_module MODULES/mod_filter.so\nLoadModule deflate_module MODULES/mod_deflate.so\nSetOutputFilter DEFLATE"
    } else {
        ""
    };
    let text = format!(
        "ServerRoot {dir_name}
ServerName localhost
Listen {address}
PidFile {dir_name}/apache.pid
ErrorLog {dir_name}/apache.log
DefaultRuntimeDir {dir_name}
User www-data
Group www-data
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
LoadModule authz_core_module MODULES/mod_authz_core.so
{form}
{gzip}
DocumentRoot {files}
<Directory {files}>
    Require all granted
</Directory>
"
    );
    let path = dir.join("apache.conf");
    fs::write(&path, text.replace("MODULES", MODULES))
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}
