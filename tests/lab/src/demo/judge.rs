//! Compares what tracer says with what the scene did.

use super::scene::Scene;
use crate::said::Said;

/// Whether a run counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Judgement {
    /// Resource and culprit are those of the scene.
    Right,
    /// They are not, or there is no verdict; with the reason.
    Wrong(String),
    /// The backup did not slow the server: there was nothing to find.
    Void,
    /// Tracer was not asked.
    NotAsked,
}

/// Judges; `suspects` are the processes of the backup.
pub(crate) fn judge(said: &Said, scene: Scene, suspects: &[u32]) -> Judgement {
    if said.resource != scene.name() {
        return Judgement::Wrong(format!("the resource is {}", scene.name()));
    }
    let Some(culprit) = said.culprits.first() else {
        return Judgement::Wrong("nobody is accused".to_owned());
    };
    if !culprit.is(suspects) {
        return Judgement::Wrong(format!(
            "the backup is pid {}",
            suspects.first().copied().unwrap_or_default()
        ));
    }
    Judgement::Right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(resource: &str, culprits: &str) -> Said {
        let json = format!(
            r#"{{"verdict": {{"resource": "{resource}", "culprits": {culprits}, "share": 0.9, "confidence": 0.8}}}}"#
        );
        Said::parse(&json).unwrap()
    }

    #[test]
    fn the_right_resource_with_the_backup_is_right() {
        let said = verdict(
            "disk",
            r#"[{"pid": 7, "comm": "demo-backup", "share": 0.8, "pids": [7]}]"#,
        );
        assert_eq!(judge(&said, Scene::Disk, &[7]), Judgement::Right);
    }

    #[test]
    fn a_process_of_the_backups_group_is_the_backup() {
        let said = verdict("cpu", r#"[{"pid": 9, "comm": "gzip", "pids": [9, 10]}]"#);
        assert_eq!(judge(&said, Scene::Cpu, &[8, 10]), Judgement::Right);
    }

    #[test]
    fn another_resource_is_wrong_whoever_is_accused() {
        let said = verdict("cpu", r#"[{"pid": 7, "comm": "demo-backup"}]"#);
        assert!(matches!(
            judge(&said, Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn another_first_culprit_is_wrong() {
        let said = verdict(
            "disk",
            r#"[{"pid": 1, "comm": "kworker"}, {"pid": 7, "comm": "demo-backup"}]"#,
        );
        assert!(matches!(
            judge(&said, Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn nobody_accused_is_wrong() {
        assert!(matches!(
            judge(&verdict("disk", "[]"), Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }
}
