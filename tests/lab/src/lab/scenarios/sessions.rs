//! Scenarios of databases in which one session holds what the others need. It waits for its own client, which has nothing to ask just
//! then.

use std::net::SocketAddr;

use anyhow::Result;

use super::database::asks;
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{self, database, link, mariadb, process::Program};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "session-row",
        about: "PostgreSQL updates rows that an idle transaction of psql has for 2 s each time",
        quick: false,
        make: |stage| rows(stage, &updates("id < 4", HELD_S), Held::Shortly),
    },
    Scenario {
        name: "session-row-before",
        about: "the same, but the transaction begins before the trace and ends after it",
        quick: false,
        make: row_before,
    },
    Scenario {
        name: "session-row-remote",
        about: "the same for 2 s each time, by psql on another machine",
        quick: false,
        make: row_remote,
    },
    Scenario {
        name: "session-row-other",
        about: "PostgreSQL updates rows; an idle transaction of psql has another one",
        quick: false,
        make: |stage| rows(stage, &updates("id = 9", HELD_S), Held::Apart),
    },
    Scenario {
        name: "session-migration",
        about: "PostgreSQL reads a table that is to be altered, as soon as an idle transaction of psql is through with it",
        quick: false,
        make: migration,
    },
    Scenario {
        name: "session-maria-table",
        about: "MariaDB updates a table that another client has locked for 2 s each time",
        quick: false,
        make: |stage| maria(stage, "LOCK TABLES stock WRITE;", true),
    },
    Scenario {
        name: "session-maria-flush",
        about: "MariaDB updates a table while another client holds all tables for reading, 2 s each time, as backups do",
        quick: false,
        make: |stage| maria(stage, "FLUSH TABLES WITH READ LOCK;", true),
    },
    Scenario {
        name: "session-maria-metadata",
        about: "MariaDB reads a table that is to be altered, as soon as an idle transaction of another client is through with it",
        quick: false,
        make: maria_metadata,
    },
    Scenario {
        name: "session-maria-row",
        about: "MariaDB updates rows that an idle transaction of another client has for 2 s each time",
        quick: false,
        make: |stage| maria_rows(stage, "id < 4", true),
    },
    Scenario {
        name: "session-maria-row-other",
        about: "MariaDB updates rows; an idle transaction of another client has another one; a backup is busy elsewhere",
        quick: false,
        make: |stage| maria_rows(stage, "id = 9", false),
    },
    Scenario {
        name: "session-maria-other",
        about: "MariaDB updates a table; another client has locked another one; a backup is busy elsewhere",
        quick: false,
        make: |stage| maria(stage, "LOCK TABLES other WRITE;", false),
    },
    Scenario {
        name: "session-redis-script",
        about: "redis runs a long script of another client's again and again; a backup is busy elsewhere",
        quick: false,
        make: |stage| redis(stage, LONG, true),
    },
    Scenario {
        name: "session-redis-quick",
        about: "redis runs a short script of another client's again and again; a backup is busy elsewhere",
        quick: false,
        make: |stage| redis(stage, SHORT, false),
    },
];

/// Ten rows with numbers.
const STOCK: &str = "CREATE TABLE stock AS SELECT i AS id, 0 AS n FROM generate_series(0, 9) i;\nCREATE UNIQUE INDEX ON stock (id);\n";
const UPDATE: &str = "UPDATE stock SET n = n + 1 WHERE id = {n}";
const READ: &str = "SELECT n FROM stock WHERE id = {n}";

/// A shell's commands that have a client say this within a transaction, and keep it open for so many seconds.
fn says(statement: &str, held_s: f64) -> String {
    format!("echo 'BEGIN; {statement};'; sleep {held_s}; echo 'COMMIT;'; sleep 0.3")
}

/// The same of a change of these rows.
fn updates(rows: &str, held_s: f64) -> String {
    says(&format!("UPDATE stock SET n = n WHERE {rows}"), held_s)
}

/// How long a session holds what it has, in seconds: much longer than any question takes.
const HELD_S: f64 = 2.0;

/// What a transaction does to others.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// It holds what they need, again and again.
    Shortly,
    /// It holds it for longer than the trace.
    Long,
    /// It holds something else.
    Apart,
}

/// PostgreSQL with a client that asks this.
fn stock(stage: &Stage, address: SocketAddr, question: &str, connections: usize) -> Result<Scene> {
    let home = stage.room.subdir("home")?;
    let settings = ["fsync=off", "shared_buffers=16MB"];
    let server = database::postgres(&stage.room, address, &home, STOCK, &settings)?;
    let client = asking(stage, "postgres", address, question, connections);
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

/// A client that is more patient than any transaction here is long. It counts what it asks first, too.
fn asking(
    stage: &Stage,
    protocol: &str,
    address: SocketAddr,
    question: &str,
    connections: usize,
) -> Program {
    asks(stage, protocol, address, question)
        .with(["--numbers=4", "--think-ms=20", "--warm-up-ms=0"])
        .with([format!("--connections={connections}")])
        .with([format!("--patience-s={}", stage.window.as_secs() + 30)])
        .on_cpus(vec![stage.cpu])
}

/// `psql` that says what these commands of a shell print, over and over, to the server at `$2` and `$3`.
fn psql(stage: &Stage, address: SocketAddr, commands: &str) -> Program {
    let script = format!(
        r#"(while :; do {commands}; done) | psql -q -h "$2" -p "$3" -U postgres >/dev/null"#
    );
    said(stage, address, &script)
}

fn said(stage: &Stage, address: SocketAddr, script: &str) -> Program {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let program = stage.room.script(script, &stage.room.dir).with([ip, port]);
    program.on_cpus(stage.elsewhere.clone())
}

fn rows(stage: &Stage, commands: &str, held: Held) -> Result<Scene> {
    let address = world::loopback()?;
    // Of those that wait for all of the trace there must be enough to be judged by.
    let connections = if held == Held::Long { 24 } else { 4 };
    let scene = stock(stage, address, UPDATE, connections)?.beside_hog(stage);
    let psql = psql(stage, address, commands);
    Ok(match held {
        Held::Shortly => scene.excused("psql", psql).owes("lock", "psql"),
        // Nothing outside the server shows which of its processes has the row.
        Held::Long => scene.excused("psql", psql).owes_itself("lock"),
        Held::Apart => scene.innocent("psql", psql).unharmed(),
    })
}

/// It is held until after the client's last question, which is then answered.
fn row_before(stage: &Stage) -> Result<Scene> {
    let held_s = stage.window.as_secs_f64() + 5.0;
    let commands = updates("id < 4", held_s) + "; sleep 300";
    rows(stage, &commands, Held::Long)
}

fn row_remote(stage: &Stage) -> Result<Scene> {
    let (near, far) = link::addresses()?;
    let link = link::unshaped(near, far, 1)?;
    let address = SocketAddr::from((near, world::loopback()?.port()));
    let scene = stock(stage, address, UPDATE, 4)?.beside_hog(stage);
    let psql = psql(stage, address, &updates("id < 4", HELD_S)).in_netns(&link.netns);
    Ok(scene.excused("psql", psql).owes("lock", far.to_string()))
}

/// The one that alters waits for the one that reads, and all others wait behind it.
fn migration(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let scene = stock(stage, address, READ, 4)?.beside_hog(stage);
    let reads = psql(stage, address, &says("SELECT n FROM stock LIMIT 1", HELD_S));
    let alters = "echo 'ALTER TABLE stock ALTER n SET DEFAULT 0;'; sleep 0.2";
    Ok(scene
        .excused("psql that reads", reads)
        .excused("psql that alters", psql(stage, address, alters))
        .owes_itself("lock"))
}

/// MariaDB's client, which says what these commands of a shell print, over and over.
fn maria_client(stage: &Stage, address: SocketAddr, commands: &str) -> Program {
    let script = format!(
        r#"(while :; do {commands}; done) | mariadb --no-defaults --unbuffered -h "$2" -P "$3" -u root lab >/dev/null"#
    );
    said(stage, address, &script)
}

fn maria_stock(stage: &Stage, question: &str) -> Result<(Scene, SocketAddr)> {
    let address = world::loopback()?;
    let server = mariadb::mariadb(&stage.room, address)?.on_cpus(vec![stage.cpu]);
    let client = asking(stage, "mysql", address, question, 4);
    let scene = Scene::new(server, address, client).beside_hog(stage);
    Ok((scene, address))
}

/// Another client takes tables, gives them back, and then leaves the others 0.3 s. They are what the others need, or something else.
fn maria(stage: &Stage, takes: &str, needed: bool) -> Result<Scene> {
    let commands = format!("echo '{takes}'; sleep {HELD_S}; echo 'UNLOCK TABLES;'; sleep 0.3");
    maria_beside(stage, &commands, needed)
}

/// The same with rows, which a transaction has.
fn maria_rows(stage: &Stage, rows: &str, needed: bool) -> Result<Scene> {
    maria_beside(stage, &updates(rows, HELD_S), needed)
}

fn maria_beside(stage: &Stage, commands: &str, needed: bool) -> Result<Scene> {
    let (scene, address) = maria_stock(stage, UPDATE)?;
    let client = maria_client(stage, address, commands);
    Ok(match needed {
        true => scene.excused("mariadb", client).owes_itself("lock"),
        false => scene.innocent("mariadb", client).unharmed(),
    })
}

fn maria_metadata(stage: &Stage) -> Result<Scene> {
    let (scene, address) = maria_stock(stage, READ)?;
    let reads = says("SELECT n FROM stock LIMIT 1", HELD_S);
    let alters = "echo 'ALTER TABLE stock FORCE;'; sleep 0.2";
    Ok(scene
        .excused("mariadb that reads", maria_client(stage, address, &reads))
        .excused("mariadb that alters", maria_client(stage, address, alters))
        .owes_itself("lock"))
}

/// Scripts for redis that take some tenths of a second, and no time.
const LONG: &str = "local n = 0; for i = 1, 20000000 do n = n + i end; return n";
const SHORT: &str = "return 1";

/// While redis runs a script it answers nobody. It does not wait meanwhile: it computes.
fn redis(stage: &Stage, script: &str, is_felt: bool) -> Result<Scene> {
    /// How busy redis is at least where the script is long, in seconds per second.
    const BUSY: f64 = 0.4;
    let address = world::loopback()?;
    let server = database::redis(&stage.room, address, &["SET", "a", "b"])?;
    let client = asking(stage, "redis", address, "GET a", 4);
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client).beside_hog(stage);
    let eval = format!(
        r#"while :; do redis-cli -h "$2" -p "$3" EVAL '{script}' 0 >/dev/null; sleep 0.1; done"#
    );
    let eval = said(stage, address, &eval);
    Ok(match is_felt {
        true => scene
            .excused("script", eval)
            .at_least(Meter::OnCpu(Who::Server), BUSY)
            .harmed(),
        false => scene.innocent("script", eval).unharmed(),
    })
}
