//! Scenarios of a server beside the backups that people run, with the options they give them.

use super::disk::trees;
use crate::lab::scenario::Scenario;

/// The scenarios.
pub const ALL: &[Scenario] = &[
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
];
