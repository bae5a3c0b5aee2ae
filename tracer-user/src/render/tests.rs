//! The reports that people see, word for word. `TRACER_BLESS=1` writes the files anew; look at them before they are committed.

use std::path::Path;

use super::{
    examples,
    text::{TextOptions, text},
};
use crate::report::{Report, SelfPart};

fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("healthy", examples::healthy()),
        ("disk", examples::disk()),
        ("network", examples::network()),
        ("unknown_and_losses", examples::unknown_and_losses()),
        ("hostile", examples::hostile()),
        ("long_names", examples::long_names()),
    ]
}

fn plain(report: &Report) -> String {
    text(
        report,
        &TextOptions {
            top: 10,
            colour: false,
        },
    )
}

#[test]
fn each_example_reads_as_it_was_approved() {
    for (name, report) in all() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/render/golden/{name}.txt"));
        let shown = plain(&report);
        if std::env::var_os("TRACER_BLESS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let approved = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(shown, approved, "{name}: TRACER_BLESS=1 approves it");
    }
}

#[test]
fn a_process_without_room_for_its_histogram_makes_no_figure_doubtful() {
    let mut report = examples::disk();
    let maps = [("histograms", 1408), ("block_histograms", 2)];
    report.losses.maps = maps.map(|(map, n)| (map.to_owned(), n)).into();
    let shown = plain(&report);
    assert!(shown.contains("Lost 1410 histograms"), "{shown}");
    assert!(!shown.contains("too low"), "{shown}");
}

#[test]
fn a_histogram_lost_on_the_way_makes_no_figure_doubtful() {
    let mut report = examples::disk();
    report.losses.ring = [("histograms".to_owned(), 12)].into();
    let shown = plain(&report);
    assert!(shown.contains("Lost 12 histograms on the way"), "{shown}");
    assert!(!shown.contains("too low"), "{shown}");
}

#[test]
fn no_line_is_longer_than_a_terminal() {
    let mut long = Vec::new();
    for (name, report) in all() {
        let shown = plain(&report);
        long.extend(
            shown
                .lines()
                .filter(|line| line.chars().count() > 80)
                .map(|line| format!("{name}: {line}")),
        );
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_from_outside_drives_the_terminal() {
    let shown = plain(&examples::hostile());
    let driving: Vec<char> = shown
        .chars()
        .filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}')
        .collect();
    assert!(driving.is_empty(), "{driving:?}");
}

#[test]
fn a_report_survives_json() {
    for (name, report) in all() {
        let json = super::json::json(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<Report>(&json).unwrap(),
            report,
            "{name}"
        );
    }
}

#[test]
fn a_table_has_no_more_rows_than_asked_for() {
    let shown = text(
        &examples::disk(),
        &TextOptions {
            top: 1,
            colour: false,
        },
    );
    assert!(
        shown.contains("tar [4711]") && shown.contains("… and 2 more"),
        "{shown}"
    );
    assert!(!shown.contains("gzip [4712]"), "{shown}");
}

#[test]
fn parts_of_the_target_are_shown_where_they_say_more() {
    let shown = |parts: &[(u32, Option<&str>, Option<&str>, f64)]| {
        let mut report = examples::healthy();
        let parts = parts.iter().map(|&(pid, thread, client, share)| SelfPart {
            pid,
            thread: thread.map(str::to_owned),
            client: client.map(str::to_owned),
            share,
            ..SelfPart::default()
        });
        report.target.pid = 812;
        report.verdict.self_parts = parts.collect();
        report.telling_parts().len()
    };
    let near = Some("10.9.0.1");
    assert_eq!(shown(&[(812, None, near, 0.6), (812, None, None, 0.3)]), 0);
    assert_eq!(
        shown(&[(812, None, near, 0.6), (812, None, Some("psql"), 0.3)]),
        2
    );
    assert_eq!(shown(&[(812, None, None, 0.6), (813, None, None, 0.2)]), 2);
    assert_eq!(shown(&[(812, None, None, 0.6), (813, None, None, 0.04)]), 0);
    assert_eq!(shown(&[(812, Some("flusher"), None, 0.6)]), 1);
}
