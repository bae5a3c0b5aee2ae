//! nginx as it is met: with TLS, with HTTP/2, in front of an application. Also the client for protocols that the lab's own one does
//! not speak.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use xtask::command::output;

use super::{Room, nginx, process::Program, tools::tool};

/// The protocol over TLS.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    One,
    /// HTTP/2: requests share a connection.
    Two,
}

/// nginx with a certificate it signed itself.
pub(crate) fn tls(
    room: &Room,
    address: SocketAddr,
    files: &Path,
    protocol: Protocol,
    gzip: bool,
) -> Result<Program> {
    let (key, certificate) = (room.dir.join("key.pem"), room.dir.join("certificate.pem"));
    let mut sign = tool("openssl");
    sign.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"]);
    sign.args(["-days", "2", "-subj", "/CN=localhost", "-keyout"]);
    sign.arg(&key).arg("-out").arg(&certificate);
    output(&mut sign, "sign a certificate")?;
    let two = match protocol {
        Protocol::One => "",
        Protocol::Two => " http2",
    };
    let site = format!(
        "{gzip}
    server {{
        listen {address} ssl{two};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {files};
    }}",
        gzip = nginx::gzip_of(gzip),
        certificate = certificate.display(),
        key = key.display(),
        files = files.display(),
    );
    Ok(room.nginx_with(nginx::site(&room.dir, &site)?))
}

/// nginx that passes all requests on to `upstream`: an address, or `unix:` and a path.
pub(crate) fn proxy(room: &Room, address: SocketAddr, upstream: &str) -> Result<Program> {
    let site = format!(
        "server {{ listen {address}; proxy_connect_timeout {CONNECTS}; location / {{ proxy_pass http://{upstream}; }} }}"
    );
    Ok(room.nginx_with(nginx::site(&room.dir, &site)?))
}

/// How long the proxy tries to reach its upstream: a few times in a window.
const CONNECTS: &str = "3s";

/// `h2load` with so many connections, each with so many requests per second. Its measurements become the figures that the lab
/// reads.
pub(crate) fn load(
    room: &Room,
    address: SocketAddr,
    protocol: Protocol,
    connections: usize,
    per_second: f64,
) -> Result<Program> {
    // All files in turn, as the lab's own client asks.
    let uris: String = (0..URIS)
        .map(|number| format!("https://{address}/{number:04}.txt\n"))
        .collect();
    let list = room.dir.join("uris");
    fs::write(&list, uris).with_context(|| format!("could not write {}", list.display()))?;
    let one = match protocol {
        Protocol::One => "--h1",
        Protocol::Two => "--max-concurrent-streams=4",
    };
    Ok(room.script(LOAD, &room.dir).with([
        connections.to_string(),
        per_second.to_string(),
        one.to_owned(),
    ]))
}

/// How many files there are at least.
const URIS: usize = 16;

/// Its arguments are a directory, connections, requests per second of each, and an option. Behind them comes `--for-ms` with a
/// number. The log of `h2load` has a line for each request: begin since 1970, status, length, in microseconds. It has no stamps of the
/// kernel's.
const LOAD: &str = r#"log="$1/h2load-$$"
h2load --duration "$(($6 / 1000))" --header 'accept-encoding: gzip' --clients "$2" --rps "$3" "$4" --input-file "$1/uris" \
    --log-file "$log" >/dev/null || exit
awk '$2 == 200 && $3 > 0 { print $3 "000", $1 "000" }' "$log" | sort -n | awk 'BEGIN { printf "{\"requests\": [" }
    { t[NR] = $1; sum += $1; printf "%s[%s, %s]", (NR > 1 ? ", " : ""), $2, $1 }
    function at(q) { k = int(NR * q); return t[k < 1 ? 1 : k + (k < NR * q)] }
    END { if (NR == 0) exit 1
        printf "], \"count\": %d, \"p50_ns\": %s, \"p99_ns\": %s, \"mean_ns\": %.0f}\n", NR, at(0.5), at(0.99), sum / NR }'"#;
