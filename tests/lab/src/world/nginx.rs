//! The real programs: nginx with a configuration of its own, and rsync in both of its parts.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Room, files::open_to_others, process::Program};

/// Writes nginx's configuration: in the foreground, a master and a worker, nothing outside the room's directory.
pub(crate) fn config(dir: &Path, address: SocketAddr, files: &Path, gzip: bool) -> Result<PathBuf> {
    let files = files.display();
    site(
        dir,
        &format!(
            "{}\n    server {{ listen {address}; root {files}; }}",
            gzip_of(gzip)
        ),
    )
}

/// The directives that switch its compression on or off.
pub(crate) fn gzip_of(gzip: bool) -> &'static str {
    if gzip {
        "gzip on; gzip_comp_level 6; gzip_types text/plain;"
    } else {
        "gzip off;"
    }
}

/// Writes the same configuration around these directives of nginx's `http` block.
pub(crate) fn site(dir: &Path, directives: &str) -> Result<PathBuf> {
    let dir_name = dir.display();
    let text = format!(
        "daemon off;
worker_processes 1;
pid {dir_name}/nginx.pid;
error_log {dir_name}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {dir_name}/nginx-body;
    proxy_temp_path {dir_name}/nginx-proxy;
    fastcgi_temp_path {dir_name}/nginx-fastcgi;
    uwsgi_temp_path {dir_name}/nginx-uwsgi;
    scgi_temp_path {dir_name}/nginx-scgi;
    {directives}
}}
"
    );
    open_to_others(dir)?;
    let path = dir.join("nginx.conf");
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// An rsync daemon as the receiver, and a backup that sends it several files at a time.
pub(crate) fn rsync(room: &Room, address: SocketAddr, files: &Path) -> Result<(Program, Program)> {
    let store = room.subdir("received")?;
    let config = room.dir.join("rsyncd.conf");
    let text = format!(
        "uid = 0\ngid = 0\nuse chroot = no\npid file = {pid}\nlog file = {log}\n[backup]\npath = {store}\nread only = no\n",
        pid = room.dir.join("rsyncd.pid").display(),
        log = room.dir.join("rsyncd.log").display(),
        store = store.display(),
    );
    fs::write(&config, text).with_context(|| format!("could not write {}", config.display()))?;
    let words = [
        "rsync",
        "--daemon",
        "--no-detach",
        "--address",
        &address.ip().to_string(),
    ]
    .map(OsString::from);
    let receiver = room
        .program(words)
        .with(["--port", &address.port().to_string()])
        .with(["--config".into(), config.into_os_string()]);
    // Every file whole and again each time: a backup of files that change.
    let send = format!(
        r#"for file in "$1"/*; do
            while :; do rsync --whole-file --ignore-times "$file" rsync://{address}/backup/ || exit; done &
        done; wait"#
    );
    Ok((receiver, room.script(&send, files)))
}
