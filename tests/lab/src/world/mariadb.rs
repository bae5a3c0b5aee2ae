//! MariaDB with a table of its own.

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use xtask::command::output;

use super::{Room, process::Program, tools::tool};

/// Rows of the table `stock`, with numbers from 0.
pub(crate) const ROWS: usize = 64;

/// A MariaDB server in the room, with the database `lab`. In it `stock` has [`ROWS`] rows, each with a number `id` and a count `n`;
/// `other` has one. Everybody may do everything.
pub(crate) fn mariadb(room: &Room, address: SocketAddr) -> Result<Program> {
    let home = room.subdir("mariadb")?;
    let mut install = tool("mariadb-install-db");
    install.args(["--no-defaults", "--user=root", "--skip-test-db"]);
    install.arg("--auth-root-authentication-method=normal");
    install.arg(option("--datadir", home.as_os_str()));
    output(&mut install, "make a database")?;
    // Each time it starts, it executes these lines before it answers anybody.
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0)")).collect();
    let sql = format!(
        "CREATE DATABASE IF NOT EXISTS lab;\n\
         CREATE TABLE IF NOT EXISTS lab.stock (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;\n\
         CREATE TABLE IF NOT EXISTS lab.other (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;\n\
         INSERT IGNORE INTO lab.stock VALUES {};\nINSERT IGNORE INTO lab.other VALUES (0, 0);\n",
        rows.join(", ")
    );
    let first = room.dir.join("mariadb.sql");
    fs::write(&first, sql).with_context(|| format!("could not write {}", first.display()))?;
    Ok(room
        .program(["mariadbd", "--no-defaults", "--user=root"])
        .with([
            "--skip-grant-tables",
            "--skip-name-resolve",
            "--skip-log-bin",
        ])
        .with([
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M",
        ])
        .with([format!("--bind-address={}", address.ip())])
        .with([format!("--port={}", address.port())])
        .with([
            option("--datadir", home.as_os_str()),
            option("--init-file", first.as_os_str()),
            option("--socket", room.dir.join("mariadb.sock").as_os_str()),
            option("--pid-file", room.dir.join("mariadb.pid").as_os_str()),
            option("--log-error", room.dir.join("mariadb.log").as_os_str()),
        ]))
}

/// An option of MariaDB's programs, which want its value behind an equals sign.
fn option(name: &str, value: &OsStr) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}
