//! The screen as people see it, at four sizes, and what keys do. `TRACER_BLESS=1` writes the frames anew; look at them before they are
//! committed.

use std::path::Path;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{class::Resource, render::examples, report::top::Process};

fn a_party(pid: u32, comm: &str, unit: Option<&str>) -> Party {
    Party {
        pid,
        pids: vec![pid, pid + 1],
        comm: comm.to_owned(),
        unit: unit.map(str::to_owned),
        ..Party::default()
    }
}

fn a_wait(victim: Party, culprit: Option<Party>, resource: Resource, part: f64) -> Wait {
    Wait {
        victim,
        culprit,
        resource,
        place: Some("sda".to_owned()),
        ns: (1e9 * part) as u64,
        part,
        felt: part >= 0.1,
    }
}

/// The interval that ends in this second of a minute.
fn interval(second: u32) -> Top {
    let nginx = a_party(4711, "nginx", Some("nginx.service"));
    let tar = a_party(815, "tar | gzip", None);
    Top {
        time: format!("2026-11-29T22:16:{second:02}.682Z"),
        interval_ns: 1_000_000_000,
        sentence: "nginx waits for the disk: 92 % of its blocked time it stood behind tar | gzip (pid 815) on sda."
            .to_owned(),
        contended: true,
        confidence: Some(0.62),
        waits: vec![
            a_wait(nginx.clone(), Some(tar), Resource::Disk, 0.9),
            a_wait(nginx, None, Resource::Disk, 0.07),
            a_wait(a_party(99, "mysqld", None), None, Resource::Cpu, 0.02),
        ],
        processes: vec![Process {
            pid: 815,
            comm: "tar".to_owned(),
            cmdline: "tar -c /srv \x1b[2J".to_owned(),
            read_per_s: Some(50e6),
            written_per_s: Some(0.0),
            read_bytes: 3_000_000_000,
            disk_ns: 800_000_000,
            ..Process::default()
        }],
        ..examples::interval()
    }
}

fn screen() -> Screen {
    let mut screen = Screen::new(true);
    (0..5).for_each(|second| screen.shows(interval(second)));
    screen
}

/// The picture of a screen, line by line.
fn picture(screen: &Screen, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(width));
    let line = |cells: &[ratatui::buffer::Cell]| -> String {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    lines.map(line).collect()
}

fn press_all(screen: &mut Screen, keys: &str) -> Wish {
    let pressed = keys.chars().map(|letter| match letter {
        '\n' => Key::Enter,
        '<' => Key::Left,
        '>' => Key::Right,
        'v' => Key::Down,
        other => Key::Char(other),
    });
    pressed.fold(Wish::Nothing, |_, key| screen.press(key))
}

#[test]
fn each_table_looks_as_it_was_approved_at_four_sizes() {
    for (width, height) in [(40, 12), (80, 24), (120, 40), (200, 60)] {
        let mut shown = String::new();
        for keys in ["0", "1", "2", "3", "4", "0\n", "?"] {
            let mut screen = screen();
            press_all(&mut screen, keys);
            shown += &picture(&screen, (width, height)).join("\n");
            shown += &format!("\n{}\n", "=".repeat(usize::from(width)));
        }
        let name = format!("src/render/golden/screen_{width}x{height}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("TRACER_BLESS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let approved = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            shown, approved,
            "{width}x{height}: TRACER_BLESS=1 approves it"
        );
    }
}

#[test]
fn no_size_is_too_small_or_too_large_and_nothing_drives_the_terminal() {
    for size in [(1, 1), (5, 3), (40, 12), (80, 24), (300, 100)] {
        for keys in ["0", "1", "2", "3", "4", "0\n", "?", "/x", "vvvvvv"] {
            let mut screen = screen();
            press_all(&mut screen, keys);
            let lines = picture(&screen, size);
            assert!(!lines.concat().contains(char::is_control), "{lines:?}");
        }
        picture(&Screen::new(false), size);
    }
}

#[test]
fn the_smallest_screen_has_the_sentence_victim_culprit_and_state() {
    let lines = picture(&screen(), (40, 12));
    assert!(
        lines[0].starts_with("nginx waits for the disk"),
        "{lines:?}"
    );
    let first = lines.iter().find(|line| line.starts_with('!')).unwrap();
    assert!(
        first.contains("[4711]") && first.contains("[815]"),
        "{first}"
    );
    assert!(lines[11].starts_with("22:16:04 · 1.00 s"), "{lines:?}");
}

#[test]
fn a_frozen_screen_stays_and_goes_on_with_what_came() {
    let mut screen = screen();
    press_all(&mut screen, " ");
    screen.shows(interval(40));
    assert!(screen.shown().unwrap().time.contains("22:16:04"));
    press_all(&mut screen, "<");
    assert!(screen.shown().unwrap().time.contains("22:16:03"));
    press_all(&mut screen, "b");
    assert!(screen.shown().unwrap().time.contains("22:16:00"));
    press_all(&mut screen, ">>>>>");
    assert!(screen.shown().unwrap().time.contains("22:16:40") && !screen.frozen);
}

#[test]
fn the_bar_stays_on_a_row_where_there_are_fewer() {
    let mut screen = screen();
    press_all(&mut screen, "vv");
    let mut fewer = interval(5);
    fewer.waits.truncate(1);
    screen.shows(fewer);
    let lines = picture(&screen, (80, 24));
    assert!(lines.iter().any(|line| line.contains("[815]")), "{lines:?}");
    assert_eq!(press_all(&mut screen, "\n"), Wish::Look(vec![4711, 4712]));
}

#[test]
fn what_is_not_known_has_no_unit() {
    let mut screen = screen();
    let mut new = interval(5);
    new.processes[0].read_per_s = None;
    screen.shows(new);
    press_all(&mut screen, "1");
    assert_eq!(screen.table().rows[0].cells[1..3], ["–", "0 B/s"]);
}

#[test]
fn only_so_many_intervals_are_kept() {
    let mut screen = Screen::new(false);
    (0..MOST_INTERVALS as u32 + 5).for_each(|number| screen.shows(interval(number % 60)));
    assert_eq!(screen.intervals.len(), MOST_INTERVALS);
}

#[test]
fn the_last_minute_has_more_rows_than_what_was_before() {
    let mut screen = Screen::new(false);
    for second in 0..=FAR as u32 {
        let mut top = interval(second % 60);
        top.processes = vec![top.processes[0].clone(); 2 * MOST_ROWS];
        screen.shows(top);
    }
    let rows = screen.intervals.iter().map(|top| top.processes.len());
    let rows: Vec<usize> = rows.collect();
    assert_eq!(rows[0], MOST_OLD_ROWS);
    assert!(rows[1..].iter().all(|rows| *rows == MOST_ROWS), "{rows:?}");
}

#[test]
fn a_filter_works_as_it_is_typed_and_turned_round() {
    let mut screen = screen();
    press_all(&mut screen, "/mys");
    assert_eq!(screen.table().rows.len(), 1);
    press_all(&mut screen, "x");
    assert!(screen.table().rows.is_empty());
    screen.press(Key::Escape);
    press_all(&mut screen, "/!nginx\n");
    assert_eq!(screen.table().rows.len(), 1);
    assert!(!screen.typing);
}

#[test]
fn rows_are_sorted_by_figures_and_the_other_way_round() {
    let mut screen = screen();
    press_all(&mut screen, "sr");
    let parts: Vec<f64> = screen
        .table()
        .rows
        .iter()
        .map(|row| row.figures[6])
        .collect();
    assert_eq!(parts, [0.02, 0.07, 0.9]);
    assert_eq!(WAITED, screen.sort.unwrap());
    press_all(&mut screen, "ss");
    assert_eq!(screen.sort, None);
}

/// The first column of the waits that has figures.
const WAITED: usize = 5;

#[test]
fn looking_closer_asks_for_all_of_the_victim_and_back_is_back() {
    let mut screen = screen();
    assert_eq!(press_all(&mut screen, "\n"), Wish::Look(vec![4711, 4712]));
    let closer = screen.table();
    assert!(
        closer
            .rows
            .iter()
            .any(|row| row.cells[0] == "waits for disk sda")
    );
    assert!(
        closer
            .rows
            .iter()
            .any(|row| row.cells[1] == "10.0.0.2:40001")
    );
    assert_eq!(screen.way(), "nginx.service [4711] › tar | gzip [815]");
    screen.press(Key::Backspace);
    assert_eq!((screen.way().as_str(), screen.table().rows.len()), ("", 3));
    // Who is not traced any more cannot be looked at anew.
    press_all(&mut screen, " ");
    assert_eq!(press_all(&mut screen, "\n"), Wish::Nothing);
}

#[test]
fn the_first_line_changes_with_a_verdict_that_stays() {
    let mut screen = screen();
    let calm = |second| Top {
        sentence: "nothing is contended".to_owned(),
        contended: false,
        ..interval(second)
    };
    screen.shows(calm(5));
    assert!(screen.said.sentence.starts_with("nginx"));
    screen.shows(interval(6));
    screen.shows(calm(7));
    assert!(screen.said.sentence.starts_with("nginx"));
    screen.shows(calm(8));
    assert_eq!(screen.said.sentence, "nothing is contended");
}

#[test]
fn what_is_shown_can_be_written_and_quitting_is_quitting() {
    let mut screen = screen();
    let Wish::Write(name, text) = press_all(&mut screen, "w") else {
        panic!("nothing is to be written");
    };
    assert_eq!(name, "tracer-top-2026-11-29T221604.682Z.txt");
    assert!(text.starts_with("nginx waits for the disk"));
    screen.notes("written".to_owned());
    assert_eq!(picture(&screen, (80, 24))[23], "written");
    assert_eq!(press_all(&mut screen, "q"), Wish::Quit);
    press_all(&mut screen, "/q");
    assert_eq!(screen.press(Key::Interrupt), Wish::Quit);
}
