//! Scenarios of a server beside the backups that people run, with the options they give them.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Result, bail};

use super::{
    cpu::{compressors, each},
    disk::{TAR, trees},
};
use crate::lab::scenario::{Scenario, Scene, Stage};
use crate::world::{
    apache::{Form, apache},
    lighttpd::lighttpd,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "backup-md5sum",
        about: "find | xargs -P 4 md5sum over the disk of nginx",
        quick: false,
        make: |stage| {
            let sums = r#"find "$1" -type f -print0 | xargs -0 -P 4 -n 2 md5sum >"$2"/sums"#;
            trees(stage, None, true, sums)
        },
    },
    Scenario {
        name: "backup-cp-a",
        about: "one cp -a of the disk of nginx",
        quick: false,
        make: |stage| trees(stage, None, true, r#"cp -a "$1" "$2"/"#),
    },
    Scenario {
        name: "backup-dd",
        about: "dd copies large files of the server's disk through the page cache, four at a time",
        quick: false,
        make: |stage| {
            let dd = r#"for tree in "$1"/*; do
                for file in "$tree"/*; do dd if="$file" of=/dev/null bs=1M status=none; done & done; wait"#;
            trees(stage, None, false, dd)
        },
    },
    Scenario {
        name: "backup-restic",
        about: "restic backs up the disk of nginx",
        quick: false,
        make: |stage| trees(stage, None, true, RESTIC),
    },
    Scenario {
        name: "backup-borg",
        about: "borg backs up the disk of nginx",
        quick: false,
        make: |stage| trees(stage, None, true, BORG),
    },
    Scenario {
        name: "apache-prefork-tar",
        about: "Apache's processes serve cold files, tar reads the disk",
        quick: false,
        make: |stage| apache_and_tar(stage, Form::Prefork),
    },
    Scenario {
        name: "apache-event-tar",
        about: "Apache's threads serve cold files, tar reads the disk",
        quick: false,
        make: |stage| apache_and_tar(stage, Form::Event),
    },
    Scenario {
        name: "lighttpd-cpio",
        about: "lighttpd serves cold files, find | cpio reads the disk",
        quick: false,
        make: |stage| {
            let mut scene = trees(stage, None, false, CPIO)?;
            let (address, served) = served_cold(&scene)?;
            scene.server = lighttpd(&stage.room, address, &served)?;
            Ok(scene)
        },
    },
    Scenario {
        name: "apache-event-gzip",
        about: "Apache compresses what it serves, four gzip -9 on its CPU",
        quick: false,
        make: apache_and_gzip,
    },
];

const CPIO: &str =
    r#"for tree in "$1"/*; do find "$tree" -type f | cpio --quiet -o >/dev/null & done; wait"#;
/// It replaces the shell once there is a place to back up to. Nothing is compressed: the disk is what is fought for.
const RESTIC: &str = r#"export RESTIC_PASSWORD=lab HOME="$2"; repo="$2/repo-$$"
    restic -q -r "$repo" init >/dev/null && exec restic -q --no-cache --compression off -r "$repo" backup "$1""#;
const BORG: &str = r#"export BORG_BASE_DIR="$2" BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes; repo="$2/repo-$$"
    borg init -e none "$repo" && exec borg create --compression none "$repo::backup" "$1""#;

/// Apache in the place of the scene's server.
fn apache_and_tar(stage: &Stage, form: Form) -> Result<Scene> {
    let mut scene = trees(stage, None, false, TAR)?;
    let (address, served) = served_cold(&scene)?;
    scene.server = apache(&stage.room, address, &served, form, false)?;
    Ok(scene)
}

/// Where a scene's server listens, and what it serves from the scene's disk.
pub(super) fn served_cold(scene: &Scene) -> Result<(SocketAddr, PathBuf)> {
    let (Some(address), Some(disk)) = (scene.address, scene.disks.first()) else {
        bail!("a scene of a disk has one, and a server that listens");
    };
    Ok((address, disk.point.join("served")))
}

fn apache_and_gzip(stage: &Stage) -> Result<Scene> {
    let mut scene = compressors(stage, false, &each("gzip -9 -c"), |script| script)?;
    let Some(address) = scene.address else {
        bail!("the server listens");
    };
    let served = stage.room.dir.join("served");
    let server = apache(&stage.room, address, &served, Form::Event, true)?;
    scene.server = server.on_cpus(vec![stage.cpu]);
    Ok(scene)
}
