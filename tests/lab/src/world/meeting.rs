//! Where a server and whom it asks meet, if that is not the network.

use std::path::Path;

use anyhow::Result;
use xtask::command::output;

use super::{Room, ledger, made::Made, process::Program, tools::tool};

/// A place to meet in this way (of `asker.py`): a path, an address, or the name of a queue.
pub(crate) fn place(room: &Room, way: &str) -> Result<String> {
    let path = room.dir.join("meeting").display().to_string();
    match way {
        "pipe" => pipe(&path)?,
        "helper" => {
            pipe(&format!("{path}.question"))?;
            pipe(&format!("{path}.answer"))?;
        }
        "feed" => return Ok(super::loopback()?.to_string()),
        "queue" => {
            let name = format!("/{}", super::name());
            // The first who opens it makes it.
            ledger::make(Made::Queue(name.clone()), || Ok(()))?;
            return Ok(name);
        }
        _ => {}
    }
    Ok(path)
}

fn pipe(path: &str) -> Result<()> {
    output(tool("mkfifo").arg(path), "make a pipe with a name").map(drop)
}

/// A program that writes to a pipe with a name what it has to say on stdout. It starts as soon as somebody reads there.
pub(crate) fn into_pipe(room: &Room, pipe: &str, program: Program) -> Program {
    let script = r#"pipe=$1; shift; exec "$@" >"$pipe""#;
    let mut writing = room.script(script, Path::new(pipe));
    writing.words.extend(program.words);
    writing
}
