//! Backups of several programs, and how such jobs are started.

use super::cpu::compressors;
use crate::lab::scenario::Scenario;

/// The scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "pipeline-zstd",
        about: "tar | zstd -12 | cat on the server's CPU: zstd is what hurts",
        quick: true,
        make: |stage| {
            let script =
                r#"while :; do tar cf - "$1" 2>/dev/null | zstd -q -12 | cat >/dev/null; done"#;
            compressors(stage, false, &three_times(script), |script| script)
        },
    },
    Scenario {
        name: "pipeline-md5",
        about: "tar | gzip -1 | md5sum: every stage has its part",
        quick: false,
        make: |stage| {
            let script =
                r#"while :; do tar cf - "$1" 2>/dev/null | gzip -1 | md5sum >/dev/null; done"#;
            compressors(stage, false, &three_times(script), |script| script)
        },
    },
    Scenario {
        name: "cron-job",
        about: "compressors in a session of their own, as cron starts them",
        quick: false,
        make: |stage| {
            let script = r#"sh -c 'for file in "$1"/*; do while :; do gzip -9 -c "$file" >/dev/null; done & done; wait' job "$1""#;
            compressors(stage, false, script, |script| script.in_a_session())
        },
    },
    Scenario {
        name: "xargs-P",
        about: "find | xargs -P 4 gzip -9",
        quick: false,
        make: |stage| {
            let script = r#"while :; do find "$1" -type f -print0 | xargs -0 -P 4 -n 1 gzip -9 -c >/dev/null; done"#;
            compressors(stage, true, script, |script| script)
        },
    },
];

/// One pipeline would leave the server half of the CPU, which it hardly feels.
fn three_times(script: &str) -> String {
    format!("for lane in 1 2 3; do {script} & done; wait")
}
