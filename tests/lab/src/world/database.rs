//! Real databases with data of their own: PostgreSQL as its own user, and redis.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::command::output;

use super::{Room, files::open_to_others, process::Program, tools::tool};

/// Where Debian keeps PostgreSQL's own programs, by version.
const POSTGRES: &str = "/usr/lib/postgresql";
/// Debian's name of the user that PostgreSQL runs as: it refuses to be root.
const POSTGRES_USER: &str = "postgres";
/// Where below its home a PostgreSQL server has its data and its Unix socket: nobody else but root gets there.
pub(crate) const SOCKET_DIR: &str = "postgres";
/// How long a database may take to load its data.
const LOADED: Duration = Duration::from_secs(20);

/// A PostgreSQL server of its own below `home`. It has executed the lines of `sql`, a statement each. It trusts every connection
/// over the loopback, or from the network of its address. `settings` are its options, such as `shared_buffers=1MB`.
pub(crate) fn postgres(
    room: &Room,
    address: SocketAddr,
    home: &Path,
    sql: &str,
    settings: &[&str],
) -> Result<Program> {
    open_to_others(&room.dir)?;
    let data = home.join(SOCKET_DIR);
    let mut place = tool("install");
    place.args(["-d", "-m", "700", "-o", POSTGRES_USER]);
    output(place.arg(&data), "make a directory for PostgreSQL")?;
    let mut init = as_postgres("initdb")?;
    init.arg("-D").arg(&data);
    init.args(["-U", POSTGRES_USER, "-A", "trust", "-E", "UTF8"]);
    init.args(["--locale=C", "--no-sync"]);
    output(&mut init, "make a database")?;
    if !address.ip().is_loopback() {
        trust_neighbours(&data.join("pg_hba.conf"))?;
    }
    let mut single = as_postgres("postgres")?;
    // With the least write-ahead log, new tables are not written to it.
    single.args(["--single", "-j", "-F", "-c", "wal_level=minimal"]);
    single.args(["-c", "max_wal_senders=0"]);
    single.arg("-D").arg(&data).arg(POSTGRES_USER);
    // With -j a statement ends with an empty line.
    let statements: Vec<&str> = sql.lines().map(str::trim).collect();
    done(&mut single, &statements.join("\n\n"))?;
    let postgres = as_postgres("postgres")?;
    let words = [postgres.get_program()]
        .into_iter()
        .chain(postgres.get_args())
        .map(OsString::from);
    let program = room
        .program(words)
        .with([OsString::from("-D"), data.into()])
        .with(["-h", &address.ip().to_string()])
        .with(["-p", &address.port().to_string()]);
    let quiet = [
        // Below its data.
        "unix_socket_directories=.",
        "autovacuum=off",
        "jit=off",
        "log_min_messages=panic",
    ];
    let settings = quiet.iter().chain(settings);
    Ok(program
        .with(settings.flat_map(|setting| ["-c", setting]))
        .with_own_shared_memory())
}

/// Adds the networks of this machine's interfaces to those from which everybody is trusted.
fn trust_neighbours(rules: &Path) -> Result<()> {
    let doing = || format!("could not write {}", rules.display());
    let file = fs::OpenOptions::new().append(true).open(rules);
    let mut file = file.with_context(doing)?;
    writeln!(file, "host all all samenet trust").with_context(doing)
}

/// Passes statements to the stdin of a command, and waits for its end.
fn done(command: &mut Command, statements: &str) -> Result<()> {
    const DOING: &str = "could not fill the database";
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(DOING)?;
    let mut stdin = child.stdin.take().context("stdin is not a pipe")?;
    stdin
        .write_all(format!("{statements}\n\n").as_bytes())
        .context(DOING)?;
    drop(stdin);
    let ended = child.wait_with_output().context(DOING)?;
    let said = String::from_utf8_lossy(&ended.stderr);
    // A statement that fails does not end the others.
    ensure!(
        ended.status.success() && !said.contains("ERROR:"),
        "{DOING}: {}",
        said.trim()
    );
    Ok(())
}

/// One of PostgreSQL's own programs, as its user.
fn as_postgres(program: &str) -> Result<Command> {
    let mut command = tool("setpriv");
    command
        .args(["--reuid", POSTGRES_USER, "--regid", POSTGRES_USER])
        .arg("--clear-groups")
        .arg(newest(Path::new(POSTGRES))?.join("bin").join(program))
        .current_dir("/");
    Ok(command)
}

/// The directory with the highest number for its name.
fn newest(dir: &Path) -> Result<PathBuf> {
    let listing = || format!("could not list {}: install PostgreSQL", dir.display());
    let versions = fs::read_dir(dir).with_context(listing)?.flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = versions.map(|entry| entry.path());
    versions
        .filter(|path| number(path).is_some())
        .max_by_key(number)
        .with_context(listing)
}

/// A redis server with the data that the redis command `fill` makes, in memory and in its file.
pub(crate) fn redis(room: &Room, address: SocketAddr, fill: &[&str]) -> Result<Program> {
    let home = room.subdir("redis")?;
    let port = address.port().to_string();
    let server = room
        .program(["redis-server", "--port", &port, "--save", ""])
        .with(["--bind", &address.ip().to_string()])
        .with([OsString::from("--dir"), home.into()]);
    let mut loading = Loading(server.command()?.spawn().context("could not start redis")?);
    let ask = |words: &[&str]| {
        let mut cli = tool("redis-cli");
        output(cli.args(["-e", "-p", &port]).args(words), "fill redis")
    };
    let end = Instant::now() + LOADED;
    while let Err(error) = ask(&["PING"]) {
        if Instant::now() > end {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(20));
    }
    ask(fill)?;
    ask(&["SAVE"])?;
    // It ends without an answer, which is no failure.
    let _ended = ask(&["SHUTDOWN", "NOSAVE"]);
    let status = loading.0.wait().context("could not wait for redis")?;
    if !status.success() {
        bail!("redis ended with {status}");
    }
    Ok(server)
}

/// A server that loads its data; it does not outlive an error.
struct Loading(Child);

impl Drop for Loading {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
