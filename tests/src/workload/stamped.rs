//! A connection whose packets the kernel stamps: when a question left, and when the last bytes of its answer came.
//!
//! A client's own clock has more in it: how long its calls take, and how late the scheduler wakes it. Neither is the server's, and
//! both are a large part of a request that takes less than a millisecond.

use std::{
    io::{self, Read, Write as _},
    net::TcpStream,
    os::fd::AsRawFd as _,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use libc::{
    SOF_TIMESTAMPING_OPT_TSONLY, SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE,
    SOF_TIMESTAMPING_TX_SOFTWARE,
};

/// `SO_TIMESTAMPING` of `asm-generic/socket.h`, and the type of the messages that it brings. libc has it for some machines only.
const SO_TIMESTAMPING: libc::c_int = 37;

/// Software's stamps of what is received and of what is sent. A stamp of what was sent comes without the packet.
const STAMPS: libc::c_uint = SOF_TIMESTAMPING_SOFTWARE
    | SOF_TIMESTAMPING_RX_SOFTWARE
    | SOF_TIMESTAMPING_TX_SOFTWARE
    | SOF_TIMESTAMPING_OPT_TSONLY;

/// A request, as the kernel's stamps say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Its last byte left, ns since 1970.
    pub begin_ns: u64,
    /// From then to the last byte of the answer, ns.
    pub length_ns: u64,
    /// How long the call that sent it lasted, ns.
    pub send_ns: u64,
}

/// The connection.
pub struct Stamped {
    stream: TcpStream,
    /// Begin of the call that sent the last question, ns since 1970.
    asked_ns: u64,
    /// How long that lasted, ns.
    send_ns: u64,
    /// The kernel's stamp of the question, if it is known.
    left_ns: Option<u64>,
    /// The kernel's stamp of the bytes that were read last, if they have one.
    arrived_ns: Option<u64>,
}

impl Stamped {
    /// Has the kernel stamp the packets of a connection.
    ///
    /// # Errors
    /// If it does not.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        let stamps = STAMPS;
        // SAFETY: the descriptor is open, and the value outlives the call, with its size.
        let result = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_TIMESTAMPING,
                (&raw const stamps).cast(),
                size_of_val(&stamps) as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            stream,
            asked_ns: 0,
            send_ns: 0,
            left_ns: None,
            arrived_ns: None,
        })
    }

    /// Sends a question, which must be short: the kernel stamps the packet of its last byte.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        // What was sent again is stamped again. Such a stamp is of an earlier question.
        while self.departure().is_some() {}
        self.arrived_ns = None;
        self.asked_ns = wall_ns();
        let begin = Instant::now();
        self.stream.write_all(question)?;
        self.send_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Read at once: until then it takes room in the receive buffer.
        self.left_ns = self.departure();
        Ok(())
    }

    /// The last question, now that its answer has been read. Where the kernel stamped nothing, the own clock must do.
    pub fn answered(&mut self) -> Stamps {
        let left_ns = self.left_ns.take().or_else(|| self.departure());
        let begin_ns = left_ns.unwrap_or(self.asked_ns);
        let end_ns = self.arrived_ns.unwrap_or_else(wall_ns);
        Stamps {
            begin_ns,
            length_ns: end_ns.saturating_sub(begin_ns),
            send_ns: self.send_ns,
        }
    }

    /// The first stamp of what was sent that nobody has read yet.
    fn departure(&self) -> Option<u64> {
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        self.receive(&mut [], flags).ok()?.1
    }

    /// Receives so many bytes, and the stamp that belongs to them, ns since 1970, if they have one.
    fn receive(&self, into: &mut [u8], flags: libc::c_int) -> io::Result<(usize, Option<u64>)> {
        let mut part = libc::iovec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        // Words, so that the messages in it are aligned.
        let mut control = [0_u64; 64];
        // SAFETY: zeros are a header without a name, without parts and without control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the descriptor is open; the header, its part and its control data outlive the call, with their sizes.
        let read = unsafe { libc::recvmsg(self.stream.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(read) {
            Ok(read) => Ok((read, stamp(&message))),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}

impl Read for Stamped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (read, arrived_ns) = self.receive(into, 0)?;
        if read > 0 {
            self.arrived_ns = arrived_ns;
        }
        Ok(read)
    }
}

/// Software's stamp in a message's control data.
fn stamp(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel has filled in the header and its control data.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !part.is_null() {
        // SAFETY: it is the head of a part of the control data.
        let head = unsafe { &*part };
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == SO_TIMESTAMPING {
            // SAFETY: such a part holds `struct scm_timestamping`, which is three times.
            let times = unsafe {
                let data = libc::CMSG_DATA(part);
                data.cast::<[libc::timespec; 3]>().read_unaligned()
            };
            let [software, ..] = times;
            let seconds = u64::try_from(software.tv_sec).ok()?;
            let ns = u64::try_from(software.tv_nsec).ok()?;
            return Some(seconds * 1_000_000_000 + ns).filter(|ns| *ns > 0);
        }
        // SAFETY: both are of the same message.
        part = unsafe { libc::CMSG_NXTHDR(message, part) };
    }
    None
}

/// The wall clock, ns since 1970: the clock of the kernel's stamps.
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread, time::Duration};

    use super::*;

    #[test]
    fn a_reader_that_comes_late_does_not_make_the_request_longer() {
        const SERVER: Duration = Duration::from_millis(20);
        const READER: Duration = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..2 {
                stream.read_exact(&mut [0; 3]).unwrap();
                thread::sleep(SERVER);
                stream.write_all(b"yes").unwrap();
            }
        });
        let mut client = Stamped::new(TcpStream::connect(address).unwrap()).unwrap();
        // At the first one, the kernel may not have begun to stamp what comes.
        for is_first in [true, false] {
            let begin_ns = wall_ns();
            client.ask(b"is?").unwrap();
            thread::sleep(READER);
            client.read_exact(&mut [0; 3]).unwrap();
            let stamps = client.answered();
            if is_first {
                continue;
            }
            let length = Duration::from_nanos(stamps.length_ns);
            assert!(length >= SERVER && length < READER, "{length:?}");
            assert!(stamps.begin_ns >= begin_ns && stamps.send_ns > 0);
        }
        serving.join().unwrap();
    }
}
