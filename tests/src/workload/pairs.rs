//! Pairs of threads that wake each other through pipes, so many times a second: context switches at a known rate.

use std::{
    io::{PipeReader, PipeWriter, Read as _, Write as _, pipe},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::busy;

/// Switches of one round trip on one CPU: there and back.
const SWITCHES: f64 = 2.0;
/// How long a pair rests after its due round trips: more frequent rests would add switches of their own.
const REST: Duration = Duration::from_millis(1);

/// Where, and how often.
#[derive(clap::Args)]
pub struct Args {
    /// CPU of each pair
    #[arg(long, required = true, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Switches a second, all pairs together; as many as the machine can make where none is named
    #[arg(long)]
    pub per_second: Option<f64>,
}

/// Goes on until the process is ended.
///
/// # Errors
/// If there is no such CPU or a pipe cannot be made.
pub fn run(args: &Args) -> Result<()> {
    let trips = |switches: f64| switches / SWITCHES / args.cpus.len() as f64;
    let rate = args.per_second.map(trips);
    let pairs = args.cpus.iter().map(|&cpu| {
        let end = Pair::start(cpu)?;
        Ok(thread::spawn(move || end.ask(cpu, rate)))
    });
    for pair in pairs.collect::<Result<Vec<_>>>()? {
        let Ok(ended) = pair.join() else {
            bail!("a pair panicked");
        };
        ended?;
    }
    Ok(())
}

/// The end that asks.
struct Pair {
    to: PipeWriter,
    from: PipeReader,
}

impl Pair {
    /// Starts the thread that answers.
    fn start(cpu: usize) -> Result<Self> {
        let (mut asked, to) = pipe().context("could not make a pipe")?;
        let (from, mut answer) = pipe().context("could not make a pipe")?;
        thread::spawn(move || -> Result<()> {
            busy::bind(cpu)?;
            let mut byte = [0];
            loop {
                asked.read_exact(&mut byte)?;
                answer.write_all(&byte)?;
            }
        });
        Ok(Self { to, from })
    }

    /// Asks as often as is due, `rate` times a second.
    fn ask(mut self, cpu: usize, rate: Option<f64>) -> Result<()> {
        busy::bind(cpu)?;
        let (begin, mut done) = (Instant::now(), 0.0);
        loop {
            let due = rate.map_or(f64::INFINITY, |rate| rate * begin.elapsed().as_secs_f64());
            while done < due {
                self.trip()?;
                done += 1.0;
            }
            thread::sleep(REST);
        }
    }

    fn trip(&mut self) -> Result<()> {
        let mut byte = [0];
        self.to.write_all(&byte)?;
        self.from.read_exact(&mut byte)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_answers_each_question() {
        let mut pair = Pair::start(crate::truth::last_cpu()).unwrap();
        for _ in 0..3 {
            pair.trip().unwrap();
        }
    }
}
