//! How far the verdict acquits all others, where it accuses nobody.
//!
//! "Nobody else is to blame" is a claim about everybody. It is made only where nearly all of the time has a known holder, and that
//! is the target. Else the verdict says what was seen, and what was not.

use super::{
    Finding, Hypothesis,
    constants::{ACQUITTED, UNEXPLAINED},
    health::Health,
};
use crate::units::share;

/// The words after a reason that accuses nobody: "; nobody else is to blame".
pub(super) fn acquittal(finding: &Finding, health: &Health, found: &Hypothesis) -> String {
    let unseen = unseen(finding, health, found);
    match unseen.as_slice() {
        [] if found.self_share >= ACQUITTED => "; nobody else is to blame".to_owned(),
        _ if 1.0 - found.others_share < ACQUITTED => "; nobody else stands out".to_owned(),
        [] => "; no other was seen".to_owned(),
        unseen => format!("; no other was seen, but {}", unseen.join(" and ")),
    }
}

/// What was not seen.
fn unseen(finding: &Finding, health: &Health, found: &Hypothesis) -> Vec<String> {
    let mut unseen = Vec::new();
    if 1.0 - found.unknown_share < ACQUITTED {
        let part = share(found.unknown_share);
        unseen.push(format!("the holder of {part} of that is not known"));
    } else if finding.unexplained > UNEXPLAINED {
        let part = share(finding.unexplained);
        unseen.push(format!("{part} of all its blocked time is not explained"));
    }
    let blind = health.blind.iter();
    unseen.extend(
        blind.map(|(blind, _)| format!("waits for the {} cannot be seen here", blind.name())),
    );
    unseen
}
