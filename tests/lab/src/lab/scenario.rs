//! A scenario: programs, the truth about them, and the physics that prove it.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tracer_tests::slow_disk::SPEED;

use super::meter::{Meter, Who};
use crate::world::{
    Room,
    cgroup::Cgroup,
    disk::{self, Disk, FileSystem},
    files,
    process::{Program, usable_cpus},
};

/// A labelled scenario: a row of the lab's list.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Its course, in a line.
    pub(crate) about: &'static str,
    /// Whether `--quick` plays it each time. The others take turns.
    pub(crate) quick: bool,
    /// Makes it.
    pub(crate) make: fn(&Stage) -> Result<Scene>,
}

/// A scenario, ready to be played.
pub(crate) struct Scene {
    /// Programs that must run before the server can, such as the sink of a backup's streams.
    pub(crate) extras: Vec<Program>,
    /// The target.
    pub(crate) server: Program,
    /// Where it listens, if it does.
    pub(crate) address: Option<SocketAddr>,
    /// Its client, without the length of its run.
    pub(crate) client: Option<Program>,
    /// Whether others ask the server too, so that its requests are not those of the client alone.
    pub(crate) others_ask: bool,
    /// Programs that run beside it.
    pub(crate) backups: Vec<Backup>,
    /// Mounted disks that are emptied from the page cache before each run.
    pub(crate) disks: Vec<Disk>,
    /// Whether anybody holds a resource, and which.
    pub(crate) truth: Truth,
    /// How many times slower the client's requests must be while the backups run ([`felt`](super::felt) says which ones).
    pub(crate) slower: Option<RangeInclusive<f64>>,
    /// How long the client's requests must usually take while the backups run, in milliseconds.
    pub(crate) usual_ms: Option<RangeInclusive<f64>>,
    /// Bounds of the kernel's own counters while tracer watches.
    pub(crate) physics: Vec<Physics>,
}

/// A program beside the server.
pub(crate) struct Backup {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// How it starts.
    pub(crate) program: Program,
    /// Whether it is to be accused.
    pub(crate) guilty: bool,
    /// Whether it may be accused although it need not be.
    pub(crate) excused: bool,
}

/// The truth of a scenario.
pub(crate) enum Truth {
    /// The guilty backups hold this resource.
    Guilty {
        /// The resource's name in a report.
        resource: &'static str,
        /// The counter of each guilty backup's use, if there is one; shares are parts of the sum.
        used: Option<fn(backup: usize) -> Meter>,
    },
    /// The server itself holds this resource.
    Own {
        /// The resource's name in a report.
        resource: &'static str,
        /// Words of the part that does, if one does: of a process's title, or of a client's address.
        part: Option<String>,
    },
    /// The server waits for somebody who does not answer, or does not take what he is given. He is to be named, and nobody is to be
    /// accused.
    Asked {
        /// The program that is asked, by its number among those that run from the beginning, if it is one of this machine.
        extra: Option<usize>,
        /// The address by which it may be named instead.
        address: Option<String>,
    },
    /// Nothing holds the server up, and the verdict must say so.
    Nothing,
    /// Nobody but the server, its client or its machine makes it wait.
    Innocent,
}

/// A counter of the kernel's and the bounds within which it must have grown, per second.
pub(crate) struct Physics {
    /// The counter.
    pub(crate) meter: Meter,
    /// Its growth per second.
    pub(crate) per_second: RangeInclusive<f64>,
}

impl Physics {
    /// Grows at least so much.
    pub(crate) fn at_least(meter: Meter, least: f64) -> Self {
        Self {
            meter,
            per_second: least..=f64::INFINITY,
        }
    }

    /// Grows at most so much.
    pub(crate) fn at_most(meter: Meter, most: f64) -> Self {
        Self {
            meter,
            per_second: 0.0..=most,
        }
    }
}

impl Scene {
    /// A server with its client, and nothing else yet.
    pub(crate) fn new(server: Program, address: SocketAddr, client: Program) -> Self {
        Self {
            extras: Vec::new(),
            server,
            address: Some(address),
            client: Some(client),
            others_ask: false,
            backups: Vec::new(),
            disks: Vec::new(),
            truth: Truth::Innocent,
            slower: None,
            usual_ms: None,
            physics: Vec::new(),
        }
    }

    /// A target that nobody asks for anything.
    pub(crate) fn alone(server: Program) -> Self {
        Self {
            extras: Vec::new(),
            server,
            address: None,
            client: None,
            others_ask: false,
            backups: Vec::new(),
            disks: Vec::new(),
            truth: Truth::Innocent,
            slower: None,
            usual_ms: None,
            physics: Vec::new(),
        }
    }

    /// With a program that is in the way.
    pub(crate) fn guilty(self, name: &'static str, program: Program) -> Self {
        self.beside(Backup {
            name,
            program,
            guilty: true,
            excused: false,
        })
    }

    /// With a program that is not in the way.
    pub(crate) fn innocent(self, name: &'static str, program: Program) -> Self {
        self.beside(Backup {
            name,
            program,
            guilty: false,
            excused: false,
        })
    }

    /// With a client for which the server itself holds what others need. Who says that it is the client is as right as who says that
    /// it is the server.
    pub(crate) fn excused(self, name: &'static str, program: Program) -> Self {
        self.beside(Backup {
            name,
            program,
            guilty: false,
            excused: true,
        })
    }

    /// With a program that keeps another CPU busy, and is not in the way.
    pub(crate) fn beside_hog(self, stage: &Stage) -> Self {
        /// How busy it is at least, in seconds per second.
        const BUSY: f64 = 0.5;
        let busy = Meter::OnCpu(Who::Backup(self.backups.len()));
        let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
        self.innocent("hog", hog).at_least(busy, BUSY)
    }

    fn beside(mut self, backup: Backup) -> Self {
        self.backups.push(backup);
        self
    }

    /// The guilty hold this resource: requests take at least twice as long.
    pub(crate) fn holds(self, resource: &'static str, used: Option<fn(usize) -> Meter>) -> Self {
        Self {
            truth: Truth::Guilty { resource, used },
            ..self.harmed()
        }
    }

    /// The server itself holds this resource, by this part: requests take at least twice as long.
    pub(crate) fn owes(self, resource: &'static str, part: impl Into<String>) -> Self {
        Self {
            truth: Truth::Own {
                resource,
                part: Some(part.into()),
            },
            ..self.harmed()
        }
    }

    /// The server itself holds this resource, by whichever part: requests take at least twice as long.
    pub(crate) fn owes_itself(self, resource: &'static str) -> Self {
        Self {
            truth: Truth::Own {
                resource,
                part: None,
            },
            ..self.harmed()
        }
    }

    /// With a program that runs from the beginning, and for which the server waits.
    pub(crate) fn waits_for(mut self, asked: Program) -> Self {
        self.truth = Truth::Asked {
            extra: Some(self.extras.len()),
            address: None,
        };
        self.with(asked)
    }

    /// The server waits for whoever has this address.
    pub(crate) fn waits_for_address(mut self, address: impl Into<String>) -> Self {
        let extra = match self.truth {
            Truth::Asked { extra, .. } => extra,
            _ => None,
        };
        self.truth = Truth::Asked {
            extra,
            address: Some(address.into()),
        };
        self
    }

    /// Nothing holds the server up: who says that it waits for anything is wrong.
    pub(crate) fn waits_for_nothing(self) -> Self {
        Self {
            truth: Truth::Nothing,
            ..self
        }
    }

    /// The backups change much: requests take at least twice as long.
    pub(crate) fn harmed(self) -> Self {
        Self {
            slower: Some(2.0..=f64::INFINITY),
            ..self
        }
    }

    /// Requests usually take at least so many milliseconds.
    pub(crate) fn takes(self, least_ms: f64) -> Self {
        Self {
            usual_ms: Some(least_ms..=f64::INFINITY),
            ..self
        }
    }

    /// Requests usually take at most so many milliseconds.
    pub(crate) fn takes_at_most(self, most_ms: f64) -> Self {
        Self {
            usual_ms: Some(0.0..=most_ms),
            ..self
        }
    }

    /// The backups change nothing: requests take at most half as long again.
    pub(crate) fn unharmed(self) -> Self {
        Self {
            slower: Some(0.0..=1.5),
            ..self
        }
    }

    /// With a counter that must have grown at least so much per second.
    pub(crate) fn at_least(mut self, meter: Meter, least: f64) -> Self {
        self.physics.push(Physics::at_least(meter, least));
        self
    }

    /// With a counter that must not have grown more than so much per second.
    pub(crate) fn at_most(mut self, meter: Meter, most: f64) -> Self {
        self.physics.push(Physics::at_most(meter, most));
        self
    }

    /// Others ask the server too, as much as the client or for longer: tracer's times of requests are of all of them.
    pub(crate) fn asked_by_others(self) -> Self {
        Self {
            others_ask: true,
            ..self
        }
    }

    /// With a disk.
    pub(crate) fn with_disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// With a program that runs from the beginning.
    pub(crate) fn with(mut self, extra: Program) -> Self {
        self.extras.push(extra);
        self
    }
}

/// Where a scenario is made.
pub(crate) struct Stage {
    /// Directory and control group.
    pub(crate) room: Room,
    /// The server's CPU.
    pub(crate) cpu: usize,
    /// All other usable CPUs: at least one.
    pub(crate) elsewhere: Vec<usize>,
    /// How long tracer watches.
    pub(crate) window: Duration,
    /// Whole disks that may be overwritten.
    disks: Vec<PathBuf>,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn make(scratch: &Path, window: Duration, disks: &[PathBuf]) -> Result<Self> {
        let mut elsewhere = usable_cpus()?;
        let cpu = elsewhere.pop().context("there is no usable CPU")?;
        anyhow::ensure!(
            !elsewhere.is_empty(),
            "the lab needs two CPUs: one for the server, one for what must not be in its way"
        );
        Ok(Self {
            room: Room::make(scratch)?,
            cpu,
            elsewhere,
            window,
            disks: disks.to_vec(),
        })
    }

    /// The whole disk of this number, with a new file system.
    pub(crate) fn whole_disk(&self, number: usize, kind: FileSystem) -> Result<Disk> {
        let device = self.device(number)?;
        disk::attach_whole(&self.room, &format!("whole-{number}"), device, kind)
    }

    /// Lets the kernel swap memory out to the whole disk of this number.
    pub(crate) fn swap_to_whole_disk(&self, number: usize) -> Result<()> {
        disk::swap_to(self.device(number)?)
    }

    fn device(&self, number: usize) -> Result<&Path> {
        let device = self.disks.get(number).context(
            "it needs disks that it may overwrite: name them with --disk, or play it in a guest by `cargo xtask vm --lab`",
        )?;
        Ok(device.as_path())
    }

    /// A directory with files.
    pub(crate) fn files(&self, name: &str, count: usize, bytes: usize) -> Result<PathBuf> {
        let dir = self.room.subdir(name)?;
        files::write_files(&dir, count, bytes)?;
        Ok(dir)
    }

    /// A slow disk for files of so many bytes in all. Everything in the room's group reads it slowly.
    pub(crate) fn slow_disk(
        &self,
        name: &str,
        files_bytes: usize,
        scheduler: Option<&str>,
    ) -> Result<Disk> {
        let disk = disk::attach(
            &self.room,
            name,
            disk::bytes_for(files_bytes as u64),
            scheduler,
        )?;
        self.room
            .group
            .limit_reads(&disk::whole_disk(&self.room.dir)?, SPEED)?;
        Ok(disk)
    }

    /// Two partitions of one slow disk, for files of so many bytes in each.
    pub(crate) fn slow_partitions(&self, name: &str, files_bytes: usize) -> Result<[Disk; 2]> {
        let partitions =
            disk::attach_partitions(&self.room, name, disk::bytes_for(files_bytes as u64))?;
        self.room
            .group
            .limit_reads(&disk::whole_disk(&self.room.dir)?, SPEED)?;
        Ok(partitions)
    }

    /// Everything in the room's group writes slowly, too.
    pub(crate) fn slow_writes(&self) -> Result<()> {
        let disk = disk::whole_disk(&self.room.dir)?;
        self.room.group.limit_writes(&disk, SPEED)
    }

    /// Another group: its programs do not share the speed limit of the room's own.
    pub(crate) fn other_group(&self) -> Result<Cgroup> {
        let group = Cgroup::make(&format!("{}-other", crate::world::name()))?;
        group.limit_reads(&disk::whole_disk(&self.room.dir)?, SPEED)?;
        Ok(group)
    }

    /// A program that keeps threads busy.
    pub(crate) fn hog(&self, threads: usize) -> Program {
        self.room
            .own("demo-hog")
            .with(["--threads", &threads.to_string()])
    }

    /// A shell script, which sees two directories as `$1` and `$2`.
    pub(crate) fn script(&self, text: &str, from: &Path, to: &Path) -> Program {
        self.room.script(text, from).with([to])
    }

    /// How many files of this size a reader gets through at full speed while the scenario lasts. It must never come to the end: a
    /// second read would come from memory.
    pub(crate) fn files_to_read(&self, bytes: usize) -> Result<usize> {
        /// How long a backup runs besides the window, with room to spare.
        const BESIDES_SECONDS: u64 = 10;
        let seconds = self.window.as_secs() + BESIDES_SECONDS;
        Ok(usize::try_from(SPEED * seconds)? / bytes + 1)
    }
}

/// New files in a new directory of a disk.
pub(crate) fn files_on(disk: &Disk, name: &str, count: usize, bytes: usize) -> Result<PathBuf> {
    let dir = disk.point.join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    files::write_files(&dir, count, bytes)?;
    Ok(dir)
}
