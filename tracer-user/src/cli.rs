//! The command line: the arguments, without their meaning.

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    builder::{NonEmptyStringValueParser, PossibleValue},
};

use crate::render::{FORMATS, Format};

/// Reports which resource a process waits for, and who holds it.
///
/// Attach to the process that is slow while it is slow; the report names the resource, who held it and what to do.
#[derive(Debug, Parser)]
#[command(name = "tracer", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say on stderr what the tracer does, and what its kernel half warns of; -vv for details (or set RUST_LOG)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The most common commands; the first line is a heading.
pub(crate) const EXAMPLES: &str = "\
Examples:
  sudo tracer attach --pid $(pgrep -o nginx)            why is nginx slow? (Ctrl-C to stop)
  sudo tracer attach --port 5432 --duration 30s         whoever listens on port 5432, for 30 s
  sudo tracer attach --comm redis-server --flamegraph why.svg
  sudo tracer attach --unit postgresql                  a service, also when it is started anew
  sudo tracer attach --container web                    of docker, podman, LXC; or a pod: shop/api-0
  sudo tracer attach --cgroup /jobs/nightly             whoever is in it, or comes to it
  sudo tracer attach --pid 4711 --record why.rec        record, to judge elsewhere:
  tracer report why.rec --output json                   no root needed, the same verdict
  tracer diff before.rec after.rec                      what changed by more than noise?
  sudo tracer top                                       nobody named yet: who waits for whom?
  sudo tracer doctor                                    what can be seen on this machine?";

/// How to see what a change has changed.
const DIFF_EXAMPLES: &str = "\
Examples:
  sudo tracer attach --comm nginx --duration 30s --record before.rec
  sudo ionice -c3 -p 4711                               change one thing
  sudo tracer attach --comm nginx --duration 30s --record after.rec
  tracer diff before.rec after.rec                      what changed by more than noise?
  tracer diff before.rec after.rec --flamegraph diff.svg
  tracer diff before.rec after.rec --folded diff.txt    the two columns of difffolded.pl";

/// How to look at a machine.
const TOP_EXAMPLES: &str = "\
Examples:
  sudo tracer top                                       who waits for whom? A live screen; ? lists its keys
  sudo tracer top --once --interval 10s                 ten seconds as text, without a screen
  sudo tracer top --batch 5 --output json               a line of tracer.top/1 for each of five seconds
  sudo tracer top --record day.rec                      until Ctrl-C, to be played later:
  tracer top --from day.rec                             no root needed";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace a running process and report what it waits for
    #[command(after_help = EXAMPLES)]
    Attach(AttachArgs),
    /// Report from a recording: no root, any machine, the same verdict
    #[command(after_help = "Example:\n  tracer report why.rec --flamegraph why.svg")]
    Report(ReportArgs),
    /// Say what changed from one recording to another: times, who held what, requests; no root
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Show who waits for whom on the whole machine, and the figures of iotop, iostat, vmstat and iftop beside it
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Check what this kernel lets the tracer see
    #[command(
        after_help = "Exit status: 0 everything, 5 something optional is missing, 3 it cannot work here."
    )]
    Doctor(DoctorArgs),
    /// Print shell completions
    #[command(after_help = "Example:\n  tracer completions bash > /etc/bash_completion.d/tracer")]
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  tracer man | man -l -")]
    Man,
}

/// Arguments of `attach`.
#[derive(Args, Debug)]
pub struct AttachArgs {
    /// Which processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Trace only the processes named, not their children (by default an nginx master's workers are traced too)
    #[arg(long)]
    pub no_children: bool,
    /// Stop after this long; until Ctrl-C by default, 10s when stderr is no terminal
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Renew the provisional sentence this often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Write a recording
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep the newest part of the recording, in FILE and FILE.old: 1G by default, less where that is over a tenth of the free space
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "record")]
    pub max_size: Option<u64>,
    /// Where the answer goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which processes: given in exactly one of these ways.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// Processes to trace, apart or as a list (1,2,3); the first gives the report its name
    #[arg(long, value_name = "PID", num_args = 1.., value_parser = pids)]
    pub pid: Vec<Pids>,
    /// Trace all processes of this name (with their children), and those that are started later
    #[arg(long, value_name = "NAME", visible_alias = "all-of")]
    pub comm: Option<String>,
    /// Trace the processes that listen on this TCP port (the oldest of those that share a socket, and its children), now or later
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Trace the processes of this systemd unit, of the system or else of a user, and those that come to it (nginx, user-1000.slice)
    #[arg(long, value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub unit: Option<String>,
    /// Trace the processes of this control group and of those below it, and those that come to it (/jobs/a, /sys/fs/cgroup/jobs/a)
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub cgroup: Option<String>,
    /// Trace the processes of this container, named or by the begin of its id, or of a pod (NAMESPACE/POD), and those that come to it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub container: Option<String>,
}

/// Processes that one word names: `1`, `1,2,3`, or what `pgrep` prints, in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pids(pub Vec<u32>);

/// Where the answer goes.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Format of the report on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value = FORMATS[0].name)]
    pub output: Format,
    /// Rows of each table of the text report
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub top: u16,
    /// Draw blocked time as a flame graph
    #[arg(long, value_name = "FILE.svg")]
    pub flamegraph: Option<PathBuf>,
    /// Write the flame graph's stacks as folded text
    #[arg(long, value_name = "FILE")]
    pub folded: Option<PathBuf>,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        FORMATS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name).help(self.about))
    }
}

/// Format of what `doctor` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Recording made by `attach --record`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the answer goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Recording of the target as it was
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// Recording of the same target as it is now; both should last 5 s or more
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// Where the answer goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Show one interval, and end
    #[arg(long, conflicts_with = "batch")]
    pub once: bool,
    /// Show so many intervals, and end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Length of an interval; longer where there are so many processes that to look at them would cost too much
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Play a recording of top or of attach
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub from: Option<PathBuf>,
    /// Write a recording
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep the newest part of the recording, in FILE and FILE.old: 1G by default, less where that is over a tenth of the free space
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "record")]
    pub max_size: Option<u64>,
    /// Format of each interval on stdout; text on a terminal is the live screen, unless --once or --batch is given
    #[arg(long, value_name = "FORMAT", value_enum, default_value = FORMATS[0].name)]
    pub output: Format,
    /// Rows of each table of the text
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub top: u16,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = DoctorFormat::Text)]
    pub output: DoctorFormat,
}

/// Longest time that makes sense: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Smallest size of a recording: the facts at attach alone may take a megabyte, and there are two files.
const LEAST_SIZE: u64 = 16 << 20;

/// Parses `64M`, `1G`, in bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("`{text}` is no size: write 64M or 1G")),
    };
    let bytes = number.parse::<u64>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(1 << unit));
    bytes
        .filter(|bytes| *bytes >= LEAST_SIZE)
        .ok_or_else(|| "a recording needs 16M at least".to_owned())
}

/// Parses `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no time: write 500ms, 10s, 2m or 1h"))?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of time: write 500ms, 10s, 2m or 1h"
            ));
        }
    };
    let parsed = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if parsed < Duration::from_millis(100) || parsed > LONGEST {
        return Err("a time must lie between 100ms and 24h".to_owned());
    }
    Ok(parsed)
}

/// The largest number that a kernel gives to a process (`PID_MAX_LIMIT`).
const LARGEST_PID: u32 = 4_194_304;

/// Parses numbers of processes, with commas or white space between them.
fn pids(text: &str) -> Result<Pids, String> {
    let between = |letter: char| letter == ',' || letter.is_whitespace();
    let words = text.split(between).filter(|word| !word.is_empty());
    let pid = |word: &str| {
        let pid = word.parse().ok();
        pid.filter(|pid| (1..=LARGEST_PID).contains(pid))
            .ok_or_else(|| format!("`{word}` is no process: give a number from 1 to {LARGEST_PID}"))
    };
    let pids = words.map(pid).collect::<Result<Vec<u32>, String>>()?;
    if pids.is_empty() {
        return Err("it names no process: does `pgrep` find it?".to_owned());
    }
    Ok(Pids(pids))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for wrong in ["", "s", "10x", "0s", "-1s", "9999h", "1e3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "G", "1.5G", "64", "1K", "15M", "-1G", "99999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processes_are_listed_as_other_tools_list_them() {
        for list in ["1,22,333", "1 22 333", "1\n22\n333\n", "1, 22, 333"] {
            assert_eq!(pids(list), Ok(Pids(vec![1, 22, 333])), "{list}");
        }
        for wrong in ["", " ", ",", "0", "1,x", "4194305", "-1"] {
            assert!(pids(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_named_as_people_name_them() {
        for (option, name) in [
            ("--unit", "nginx"),
            ("--cgroup", "/jobs/a"),
            ("--container", "web"),
            ("--comm", "nginx"),
            ("--all-of", "nginx"),
        ] {
            let cli = Cli::try_parse_from(["tracer", "attach", option, name]).unwrap();
            let Command::Attach(AttachArgs { target, .. }) = cli.command else {
                unreachable!("it is attach");
            };
            let named = [target.unit, target.cgroup, target.container, target.comm];
            let named: Vec<String> = named.into_iter().flatten().collect();
            assert_eq!(named, [name], "{option}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            vec!["tracer", "attach"],
            vec!["tracer", "attach", "--pid", "0"],
            vec!["tracer", "attach", "--pid", "x"],
            vec!["tracer", "attach", "--pid", "1", "--port", "80"],
            vec!["tracer", "attach", "--unit", "nginx", "--cgroup", "/jobs"],
            vec!["tracer", "attach", "--container", ""],
            vec!["tracer", "attach", "--pid", "1", "--duration", "never"],
            vec!["tracer", "attach", "--pid", "1", "--output", "xml"],
            vec!["tracer", "attach", "--pid", "1", "--top", "0"],
            vec!["tracer", "report"],
            vec!["tracer", "diff", "a.rec"],
            vec!["tracer", "top", "--batch", "0"],
            vec!["tracer", "top", "--once", "--batch", "2"],
            vec!["tracer", "top", "--from", "a.rec", "--record", "b.rec"],
        ] {
            assert!(Cli::try_parse_from(&wrong).is_err(), "{wrong:?}");
        }
    }
}
