//! Compares tracer's verdict with the truth.

use super::outcome::{Asked, Label, Outcome, Suspect};
use crate::said::{Culprit, Said};

/// A guilty backup must be named when it has at least this part of all guilty use. A verdict names nobody with less.
const MUST_BE_NAMED: f64 = 0.20;
/// How far a blame share may be from the true one, as a part of 1.
pub(crate) const SHARE_ERROR: f64 = 0.05;

/// Whether a run counts, and for what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Grade {
    /// Resource and culprits are those of the scenario.
    Right,
    /// They are not, or there is no verdict; with the reasons.
    Wrong(Vec<Fault>),
    /// The physics did not happen: there was nothing to find, or something else.
    Void,
    /// Tracer was not asked.
    NotAsked,
}

/// A fault of a verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// There is no verdict.
    Failed(String),
    /// The resource should be this one.
    Resource(String),
    /// This guilty backup is not accused.
    NotNamed(String),
    /// This one is accused and should not be.
    Accused(String),
    /// This part of the server should have most of what it owes to itself.
    Part(String),
    /// The one for whom the server waits is not named.
    Unnamed,
    /// This backup's share is wrong: said, true.
    Share(String, f64, f64),
    /// These lines of the report do not add up.
    Sums(String),
}

impl Fault {
    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Failed(why) => why.clone(),
            Self::Resource(resource) => format!("the resource is {resource}"),
            Self::NotNamed(name) => format!("{name} is not accused"),
            Self::Part(words) => format!("the server's own part is {}", words.escape_debug()),
            Self::Unnamed => "whom it waits for is not named".to_owned(),
            Self::Accused(name) => format!("{} is accused falsely", name.escape_debug()),
            Self::Sums(lines) => format!("lines do not add up: {lines}"),
            Self::Share(name, said, true_share) => {
                format!(
                    "{name} has {:.0} %, not {:.0} %",
                    true_share * 100.0,
                    said * 100.0
                )
            }
        }
    }
}

/// Grades a run.
pub(crate) fn grade(outcome: &Outcome) -> Grade {
    if outcome.void.is_some() {
        return Grade::Void;
    }
    if let Some(why) = &outcome.failed {
        return Grade::Wrong(vec![Fault::Failed(why.clone())]);
    }
    let Some(said) = &outcome.said else {
        return Grade::NotAsked;
    };
    let faults = faults(&outcome.label, said);
    if faults.is_empty() {
        Grade::Right
    } else {
        Grade::Wrong(faults)
    }
}

fn faults(label: &Label, said: &Said) -> Vec<Fault> {
    let mut faults = faults_of_the_wait(label, said);
    faults.extend(faults_of_accusations(label, said));
    for (backup, said, true_share) in shares(label, said) {
        if (said - true_share).abs() > SHARE_ERROR {
            faults.push(Fault::Share(backup.name.clone(), said, true_share));
        }
    }
    faults.extend(said.sums.iter().cloned().map(Fault::Sums));
    faults
}

/// What is wrong about the resource, and about whom the server waits for without accusing anybody.
fn faults_of_the_wait(label: &Label, said: &Said) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(resource) = &label.resource
        && *resource != said.resource
    {
        faults.push(Fault::Resource(resource.clone()));
    }
    // Where the client is accused for whom the part works, the part has nothing left.
    let is_excused = |backup: &&Suspect| backup.excused && is_accused(backup, said);
    let instead = label.backups.iter().find(is_excused);
    if let Some(part) = label.part.as_ref().filter(|part| !has_most(said, part))
        && instead.is_none()
    {
        faults.push(Fault::Part(part.clone()));
    }
    if label
        .asked
        .as_ref()
        .is_some_and(|asked| !names(said, asked))
    {
        faults.push(Fault::Unnamed);
    }
    faults
}

/// What is wrong about who is accused.
fn faults_of_accusations(label: &Label, said: &Said) -> Vec<Fault> {
    let must_be = |backup: &&Suspect| {
        backup.guilty && backup.share.is_none_or(|share| share >= MUST_BE_NAMED)
    };
    let missing = label.backups.iter().filter(must_be);
    let missing = missing.filter(|backup| !is_accused(backup, said));
    let may_be = |culprit: &&Culprit| {
        let mut may = label
            .backups
            .iter()
            .filter(|backup| backup.guilty || backup.excused);
        may.any(|backup| culprit.is(&backup.pids))
    };
    let falsely = said.culprits.iter().filter(|culprit| !may_be(culprit));
    let missing = missing.map(|backup| Fault::NotNamed(backup.name.clone()));
    let falsely = falsely.map(|culprit| Fault::Accused(culprit.comm.clone()));
    missing.chain(falsely).collect()
}

fn is_accused(backup: &Suspect, said: &Said) -> bool {
    said.culprits.iter().any(|culprit| culprit.is(&backup.pids))
}

/// Whether the sentence has one of his processes, or his address.
fn names(said: &Said, asked: &Asked) -> bool {
    let process = |pid: &u32| {
        let ends = [")", ","];
        ends.iter()
            .any(|end| said.sentence.contains(&format!("(pid {pid}{end}")))
    };
    let address = |address: &String| said.sentence.contains(address.as_str());
    asked.pids.iter().any(process) || asked.address.iter().any(address)
}

/// Whether the parts with these words have more than all others together.
fn has_most(said: &Said, words: &str) -> bool {
    let sum = |wanted: bool| -> f64 {
        let parts = said.parts.iter();
        let of = parts.filter(|part| part.words.contains(words) == wanted);
        of.map(|part| part.share).sum()
    };
    sum(true) > sum(false)
}

/// For each guilty backup with a known true share: its share by tracer, and the true one. Tracer's shares are parts of its sum for
/// all of them. Where one of them is not named, there is nothing to compare: the list is empty.
pub(crate) fn shares<'a>(label: &'a Label, said: &Said) -> Vec<(&'a Suspect, f64, f64)> {
    let known = label
        .backups
        .iter()
        .filter_map(|backup| Some((backup, backup.share?)));
    let of = |backup: &Suspect| {
        let named: Vec<&Culprit> = said
            .culprits
            .iter()
            .filter(|culprit| culprit.is(&backup.pids))
            .collect();
        named.iter().map(|culprit| culprit.share).sum::<f64>()
    };
    let rows: Vec<_> = known
        .map(|(backup, share)| (backup, of(backup), share))
        .collect();
    let all: f64 = rows.iter().map(|row| row.1).sum();
    if rows.iter().any(|row| row.1 == 0.0) {
        return Vec::new();
    }
    rows.into_iter()
        .map(|(backup, said, share)| (backup, said / all, share))
        .collect()
}

/// The largest difference between a blame share and the true one.
pub(crate) fn share_error(outcome: &Outcome) -> Option<f64> {
    let said = outcome.said.as_ref()?;
    shares(&outcome.label, said)
        .iter()
        .map(|(_, said, share)| (said - share).abs())
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(name: &str, pid: u32, guilty: bool, share: Option<f64>) -> Suspect {
        Suspect {
            name: name.to_owned(),
            guilty,
            excused: false,
            pids: vec![pid],
            share,
        }
    }

    fn label(resource: Option<&str>, backups: Vec<Suspect>) -> Label {
        Label {
            resource: resource.map(str::to_owned),
            part: None,
            asked: None,
            backups,
        }
    }

    fn said(resource: &str, culprits: &str) -> Said {
        Said::parse(&format!(
            r#"{{"verdict": {{"resource": "{resource}", "culprits": {culprits}}}}}"#
        ))
        .unwrap()
    }

    const TWO: &str = r#"[{"pid": 1, "share": 0.56}, {"pid": 2, "share": 0.24}]"#;

    #[test]
    fn both_culprits_with_their_shares_are_right() {
        let truth = label(
            Some("cpu"),
            vec![
                suspect("a", 1, true, Some(0.7)),
                suspect("b", 2, true, Some(0.3)),
            ],
        );
        assert_eq!(faults(&truth, &said("cpu", TWO)), []);
    }

    #[test]
    fn a_share_that_is_far_off_is_wrong() {
        let truth = label(
            Some("cpu"),
            vec![
                suspect("a", 1, true, Some(0.6)),
                suspect("b", 2, true, Some(0.4)),
            ],
        );
        assert_eq!(faults(&truth, &said("cpu", TWO)).len(), 2);
    }

    #[test]
    fn an_innocent_backup_that_is_accused_is_wrong_whatever_the_resource() {
        let truth = label(None, vec![suspect("a", 1, false, None)]);
        assert_eq!(faults(&truth, &said("cpu", "[]")), []);
        let accused = said("cpu", r#"[{"pid": 1, "comm": "a"}]"#);
        assert_eq!(faults(&truth, &accused), [Fault::Accused("a".to_owned())]);
    }

    #[test]
    fn a_verdict_whose_lines_do_not_add_up_is_wrong_whatever_it_says() {
        let innocent = label(None, Vec::new());
        let json =
            r#"{"verdict": {"resource": "none", "culprits": []}, "threads": {"wall_ns": 9000000}}"#;
        let said = Said::parse(json).unwrap();
        let found = faults(&innocent, &said);
        let [Fault::Sums(line)] = found.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(line, "threads lived 9.000 ms, and by class 0.000 ms");
        let live = said.verdict();
        assert!(live != said && live == said.verdict());
    }

    #[test]
    fn a_culprit_that_is_missing_is_wrong_unless_it_has_little() {
        let one = said("disk", r#"[{"pid": 1, "share": 0.8}]"#);
        let truth = |share| {
            label(
                Some("disk"),
                vec![
                    suspect("a", 1, true, Some(1.0 - share)),
                    suspect("b", 2, true, Some(share)),
                ],
            )
        };
        assert_eq!(faults(&truth(0.3), &one), [Fault::NotNamed("b".to_owned())]);
        assert_eq!(faults(&truth(0.1), &one), []);
    }

    #[test]
    fn the_part_of_the_server_must_have_most_of_what_is_its_own() {
        let said = |worker: f64, others: f64| {
            let parts = format!(
                r#"[{{"comm": "postgres", "cmdline": "postgres: autovacuum worker x", "share": {worker}}},
                    {{"comm": "postgres", "cmdline": "postgres: x idle", "client": "10.9.0.2", "share": {others}}}]"#
            );
            let verdict =
                format!(r#"{{"resource": "disk", "culprits": [], "self_parts": {parts}}}"#);
            Said::parse(&format!(r#"{{"verdict": {verdict}}}"#)).unwrap()
        };
        let truth = |part: &str| Label {
            part: Some(part.to_owned()),
            ..label(Some("disk"), Vec::new())
        };
        assert_eq!(faults(&truth("autovacuum"), &said(0.6, 0.3)), []);
        assert_eq!(faults(&truth("10.9.0.2"), &said(0.1, 0.3)), []);
        let wrong = faults(&truth("autovacuum"), &said(0.3, 0.6));
        assert_eq!(wrong, [Fault::Part("autovacuum".to_owned())]);
    }

    #[test]
    fn a_client_that_is_excused_may_be_accused_instead_of_the_part_that_works_for_it() {
        let client = Suspect {
            excused: true,
            ..suspect("psql", 1, false, None)
        };
        let truth = Label {
            part: Some("psql".to_owned()),
            ..label(Some("lock"), vec![client])
        };
        let accused = said("lock", r#"[{"pid": 1, "comm": "psql", "share": 0.9}]"#);
        assert_eq!(faults(&truth, &accused), []);
        let other = said("lock", r#"[{"pid": 2, "comm": "gzip", "share": 0.9}]"#);
        assert_eq!(
            faults(&truth, &other),
            [
                Fault::Part("psql".to_owned()),
                Fault::Accused("gzip".to_owned())
            ]
        );
    }

    #[test]
    fn who_is_asked_must_be_named_by_a_process_or_an_address() {
        let truth = Label {
            asked: Some(Asked {
                pids: vec![7, 70],
                address: Some("127.0.0.9:53".to_owned()),
            }),
            ..label(Some("upstream"), Vec::new())
        };
        let says = |sentence: &str| {
            Said::parse(&format!(
                r#"{{"verdict": {{"resource": "upstream", "culprits": [], "sentence": "{sentence}"}}}}"#
            ))
            .unwrap()
        };
        assert_eq!(faults(&truth, &says("from reader (pid 70).")), []);
        assert_eq!(faults(&truth, &says("on 127.0.0.9:53 (UDP).")), []);
        let another = faults(&truth, &says("from reader (pid 77)."));
        assert_eq!(another, [Fault::Unnamed]);
    }

    #[test]
    fn another_resource_is_wrong_whoever_is_accused() {
        let truth = label(Some("disk"), vec![suspect("a", 1, true, None)]);
        let other = said("cpu", r#"[{"pid": 1}]"#);
        assert_eq!(faults(&truth, &other), [Fault::Resource("disk".to_owned())]);
    }
}
