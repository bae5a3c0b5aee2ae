//! A crowd that does nothing: many processes, threads or sockets; or processes that come and go.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::limit_lifetime;

/// Threads of one process: each needs two of its mappings, of which `vm.max_map_count` allows 65,530.
const THREADS: usize = 10_000;
/// Bytes of a stack, enough for a thread that only waits.
const STACK: usize = 16 << 10;

/// Sockets of one process: as many descriptors are allowed nearly everywhere.
const SOCKETS: usize = 10_000;

/// Descriptors that are no sockets of the crowd.
const SPARE: u64 = 100;

/// The things of which there are many.
#[derive(clap::Subcommand)]
pub enum Crowd {
    /// Processes that sleep
    Processes {
        /// How many
        count: usize,
    },
    /// Threads that sleep, at most 10,000 in a process
    Threads {
        /// How many
        count: usize,
    },
    /// Connected sockets, both ends, at most 10,000 of a process
    Sockets {
        /// How many
        count: usize,
    },
    /// Processes that are forked and end at once
    Forks {
        /// How many a second
        per_second: f64,
    },
}

/// Makes the crowd, says `ready`, and stays until the process is ended; each of its processes ends after `lifetime` seconds.
///
/// # Errors
/// If the machine does not allow so many.
pub fn run(crowd: &Crowd, lifetime: u32) -> Result<()> {
    match *crowd {
        Crowd::Processes { count } => {
            for _ in 0..count {
                child(lifetime, || Ok(()))?;
            }
        }
        Crowd::Threads { count } => {
            for some in parts(count, THREADS) {
                child(lifetime, || threads(some))?;
            }
        }
        Crowd::Sockets { count } => {
            for some in parts(count, SOCKETS) {
                child(lifetime, || sockets(some))?;
            }
        }
        Crowd::Forks { per_second } => {
            say()?;
            return forks(per_second);
        }
    }
    say()?;
    rest(())
}

/// So many in parts of at most `most`.
fn parts(count: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..count)
        .step_by(most)
        .map(move |before| most.min(count - before))
}

fn say() -> Result<()> {
    println!("ready");
    io::stdout().flush().context("cannot write to stdout")
}

/// Sleeps; everything held stays open.
fn rest<T>(_held: T) -> ! {
    loop {
        thread::park();
    }
}

/// Forks a process that makes its part and then sleeps; returns when it has made it.
fn child<T>(lifetime: u32, make: impl FnOnce() -> Result<T>) -> Result<()> {
    let (mut ready, mut done) = io::pipe().context("could not make a pipe")?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("could not fork"),
        0 => {
            drop(ready);
            limit_lifetime(lifetime);
            let Ok(made) = make().and_then(|made| {
                done.write_all(&[0])?;
                Ok(made)
            }) else {
                std::process::exit(1);
            };
            drop(done);
            rest(made)
        }
        _ => {
            drop(done);
            let mut byte = [0];
            io::Read::read_exact(&mut ready, &mut byte).context("a part could not be made")
        }
    }
}

fn threads(count: usize) -> Result<()> {
    for _ in 0..count {
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(|| rest(()))
            .context("could not start a thread")?;
    }
    Ok(())
}

/// Both ends of connections over the loopback.
fn sockets(count: usize) -> Result<Vec<TcpStream>> {
    allow_descriptors(count as u64 + SPARE)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
    let address = listener.local_addr()?;
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let here = TcpStream::connect(address).context("could not connect")?;
        let (there, _) = listener.accept().context("could not accept")?;
        for end in [here, there] {
            reset_at_close(&end)?;
            all.push(end);
        }
    }
    Ok(all)
}

fn allow_descriptors(count: u64) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are to a value that outlives the calls.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_cur.max(count);
        limit.rlim_max = limit.rlim_max.max(count);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    ensure!(result == 0, "so many descriptors are not allowed");
    Ok(())
}

/// No end stays behind in TIME_WAIT, which would keep its port for a minute.
fn reset_at_close(socket: &TcpStream) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the pointer is to a value that outlives the call, with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        )
    };
    ensure!(result == 0, "could not choose how a socket is closed");
    Ok(())
}

/// Forks as often as is due, and waits for each.
fn forks(per_second: f64) -> Result<()> {
    let (begin, mut done) = (Instant::now(), 0.0);
    loop {
        while done < per_second * begin.elapsed().as_secs_f64() {
            // SAFETY: this process has one thread.
            match unsafe { libc::fork() } {
                -1 => return Err(io::Error::last_os_error()).context("could not fork"),
                // SAFETY: ends the child at once, with nothing of its parent's to be done.
                0 => unsafe { libc::_exit(0) },
                // SAFETY: no status is asked for.
                pid => unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) },
            };
            done += 1.0;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_allowed() {
        assert!(parts(25, 10).eq([10, 10, 5]));
        assert!(parts(20, 10).eq([10, 10]));
    }

    #[test]
    fn sockets_are_connected_pairs() {
        let all = sockets(6).unwrap();
        for ends in all.chunks(2) {
            assert_eq!(ends[0].peer_addr().unwrap(), ends[1].local_addr().unwrap());
        }
    }
}
