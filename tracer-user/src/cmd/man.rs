//! `tracer man`: the manual page, from the command line's own definition and from `man/reading.md`.

use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, italic, roman},
};

use crate::cli::{Cli, EXAMPLES};

/// The guide to a report and its limits, in the small part of Markdown that [`sections`] reads.
const READING: &str = include_str!("../../man/reading.md");

/// Commands that take options which need an explanation, and the headings above these.
const WITH_OPTIONS: [(&str, &str); 5] = [
    ("attach", "options of attach"),
    ("report", "options of report"),
    ("diff", "options of diff"),
    ("top", "options of top"),
    ("doctor", "options of doctor"),
];

/// Writes the page in roff, for `man -l -`.
///
/// # Errors
/// If the writer returns an error.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let page = Man::new(Cli::command().disable_help_subcommand(true));
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    commands().to_writer(out)?;
    for (name, heading) in WITH_OPTIONS {
        options_of(name, heading).render_options_section(out)?;
    }
    sections(READING).to_writer(out)?;
    examples().to_writer(out)?;
    page.render_version_section(out)
}

/// All commands are on this page: `clap_mangen` would name a page for each.
fn commands() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["COMMANDS"]);
    for command in Cli::command().get_subcommands() {
        roff.control("TP", []);
        roff.text([bold(format!("tracer {}", command.get_name()))]);
        let about = command.get_about().map(ToString::to_string);
        roff.text([roman(about.unwrap_or_default())]);
    }
    roff
}

/// The examples of `--help`, line by line as they stand there.
fn examples() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("EX", []);
    for line in EXAMPLES.lines().skip(1) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("EE", []);
    roff
}

/// A page of one command, all options of which stand under one heading.
fn options_of(name: &str, heading: &'static str) -> Man {
    let mut cli = Cli::command();
    cli.build();
    let command = cli.find_subcommand(name).cloned().unwrap_or_default();
    Man::new(command.mut_args(|option| option.help_heading(heading)))
}

/// `# HEADING`, and paragraphs between empty lines.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::default();
    for block in text.split("\n\n") {
        let block = block.trim();
        match block.strip_prefix("# ") {
            Some(heading) => roff.control("SH", [heading]),
            None => {
                roff.control("PP", []);
                roff.text(inlines(&block.replace('\n', " ")))
            }
        };
    }
    roff
}

/// `**bold**`, `*italic*` and `` `literal` ``, which manual pages set in bold.
fn inlines(text: &str) -> Vec<Inline> {
    type Font = fn(String) -> Inline;
    const MARKS: [(&str, Font); 3] = [
        ("**", |text| bold(text)),
        ("*", |text| italic(text)),
        ("`", |text| bold(text)),
    ];
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['*', '`']) {
        let marked = &rest[at..];
        let span = MARKS.iter().find_map(|(mark, style)| {
            let (inside, after) = marked.strip_prefix(mark)?.split_once(mark)?;
            Some((style(inside.to_owned()), after))
        });
        let Some((inline, after)) = span else { break };
        found.extend([roman(&rest[..at]), inline]);
        rest = after;
    }
    found.push(roman(rest));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let mut page = Vec::new();
        write(&mut page).expect("memory takes everything");
        String::from_utf8(page).expect("the page is text")
    }

    #[test]
    fn the_page_explains_every_option_and_the_report() {
        let page = page();
        let mut cli = Cli::command();
        cli.build();
        for (name, heading) in WITH_OPTIONS {
            let command = cli.find_subcommand(name).expect("the command is there");
            assert!(page.contains(&heading.to_uppercase()), "{heading}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                let escaped = option.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{escaped}")), "{option}");
            }
        }
        for heading in [
            "COMMANDS",
            "EXAMPLES",
            "READING THE REPORT",
            "WHO IS CHARGED",
            "BEFORE AND AFTER",
            "LIMITS",
            "EXIT STATUS",
        ] {
            assert!(page.contains(heading), "{heading}");
        }
    }

    #[test]
    fn marks_become_fonts_and_none_is_left() {
        let expected = vec![
            roman("a "),
            bold("b *c"),
            roman(" "),
            bold("d"),
            roman(" "),
            italic("e"),
            roman(" f"),
        ];
        assert_eq!(inlines("a **b *c** `d` *e* f"), expected);
        assert!(!sections(READING).to_roff().contains("**"));
    }

    #[test]
    fn a_mark_that_is_not_closed_is_text() {
        assert_eq!(inlines("2 * 3"), vec![roman("2 * 3")]);
    }
}
