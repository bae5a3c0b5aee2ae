//! The reports that people see, word for word. `TRACER_BLESS=1` writes the files anew; look at them before they are committed.

use std::path::Path;

use super::{
    examples, flame,
    json::json,
    text::{TextOptions, text},
};
use crate::{
    class::Class,
    report::{Flame, FlameStack, Losses, Report, SelfPart, Shed},
};

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
fn time_without_a_class_is_no_sign_of_a_loss_where_nothing_was_lost() {
    let mut report = examples::unknown_and_losses();
    let line = |report: &Report| {
        let shown = plain(report);
        let mut lines = shown.lines().map(str::trim);
        lines
            .find(|line| line.contains("accounted for"))
            .map(str::to_owned)
    };
    let lost = "3.10 s of it cannot be accounted for: records were lost";
    assert_eq!(line(&report).as_deref(), Some(lost));
    report.losses = Losses::default();
    let unseen = "3.10 s of it cannot be accounted for: no record says what it was";
    assert_eq!(line(&report).as_deref(), Some(unseen));
}

#[test]
fn what_was_shed_is_said_with_the_reason() {
    let mut report = examples::disk();
    assert!(!plain(&report).contains("Shed"));
    report.losses.shed = vec![Shed {
        probes: "interrupts".to_owned(),
        after_ns: 1_000_000_000,
        for_ns: 8_200_000_000,
        why: "no queue".to_owned(),
        unattributed_ns: 0,
    }];
    let shown = plain(&report);
    assert!(
        shown.contains("\nShed interrupts for 8.20 s: no queue\n"),
        "{shown}"
    );
    report.losses.shed[0].unattributed_ns = 3_000_000;
    let shown = plain(&report).replace("\n     ", " ");
    let nobody = "no queue; 3.00 ms of waits are unattributed for that\n";
    assert!(shown.contains(nobody), "{shown}");
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

/// Names of processes, command lines, paths, devices and units as a machine may have them. Those that are no UTF-8 come with
/// replacement characters.
const HOSTILE: [&str; 16] = [
    "\x1b[2J\x1b]0;owned\x07",
    "\u{9b}31m\u{85}\u{90}",
    "line\nbreak\r\n\ttab\x0b\x0c",
    "\u{2028}\u{2029}",
    "\u{202e}txt.exe\u{202c}\u{2066}\u{2069}\u{200f}\u{200e}\u{61c}",
    "nul\0del\x7f",
    "<script>&amp;\"']]>-->",
    "a;b;c 17",
    " ends in a number 9",
    "back\\slash\\x1b \\u001b",
    "\u{fffd}\u{fffe}\u{ffff}\u{fdd0}\u{10ffff}",
    "\u{e000}\u{e001}\u{e013}",
    "\u{e0001}\u{e0041}",
    "größe 日本 🦀 e\u{301}",
    "dm-0\\x2dcrypt system-getty.slice\\x2d",
    "",
];

/// What no output may have: a terminal obeys it, it turns the text, or it is no character.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}');
    let is_none = matches!(
        c,
        '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' | '\u{10ffff}'
    );
    (c.is_control() && c != '\n') || turns || is_none || matches!(c, '\u{e0000}'..='\u{e007f}')
}

fn flame_of(name: &str) -> Flame {
    let frames = ["target", "disk", name, name, "schedule", name];
    Flame {
        title: name.to_owned(),
        sentence: name.to_owned(),
        stacks: vec![FlameStack {
            frames: frames.map(str::to_owned).to_vec(),
            class: Class::Disk,
            holder: 3,
            accused: true,
            ns: 5_000_000,
        }],
    }
}

#[test]
fn no_name_harms_any_output() {
    for name in HOSTILE {
        let report = examples::named(name);
        let json = json(&report).unwrap();
        let folded = flame::folded(&flame_of(name));
        let svg = String::from_utf8(flame::svg(&flame_of(name)).unwrap()).unwrap();
        for (format, shown) in [
            ("text", plain(&report)),
            ("json", json.clone()),
            ("folded", folded.clone()),
            ("svg", svg.replace('\t', " ")),
        ] {
            let harmful = shown.find(is_harmful);
            assert_eq!(harmful, None, "{name:?} in {format}");
        }
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert_eq!(folded.lines().count(), 1, "{folded:?}");
        assert_eq!(folded.matches(';').count(), 4, "{folded:?}");
        assert!(!svg.contains("<script>&"), "{svg}");
    }
}

#[test]
fn an_argument_of_two_megabytes_costs_no_time() {
    let begun = std::time::Instant::now();
    let mut report = examples::disk();
    report.target.cmdline = "x".repeat(2 << 20);
    report.verdict.remedies[0].command = report.target.cmdline.clone();
    report.verdict.self_parts[0].cmdline = report.target.cmdline.clone();
    let shown = plain(&report);
    assert!(shown.lines().all(|line| line.chars().count() <= 80));
    assert!(shown.matches('x').count() >= 2 << 20);
    let folded = flame::folded(&flame_of(&report.target.cmdline));
    assert!(folded.len() < 4096, "{}", folded.len());
    flame::svg(&flame_of(&report.target.cmdline)).unwrap();
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_report_survives_json() {
    for (name, report) in all() {
        let json = json(&report).unwrap();
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
