//! A ring of `io_uring`, as much of it as a server needs (`io_uring(7)`, `include/uapi/linux/io_uring.h`). One thread puts entries in
//! and takes completions out.

use std::{
    io::{self, Error},
    mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering, fence},
    thread,
};

const SETUP_SQPOLL: u32 = 1 << 1;
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 1 << 1;
const SQ_NEED_WAKEUP: u32 = 1;
const OFFSET_OF_RINGS: i64 = 0;
const OFFSET_OF_ENTRIES: i64 = 0x1000_0000;

const OP_ACCEPT: u8 = 13;
const OP_READ: u8 = 22;
const OP_SEND: u8 = 26;
const OP_RECEIVE: u8 = 27;
const OP_PROVIDE_BUFFERS: u8 = 31;
/// `IOSQE_BUFFER_SELECT`
const CHOOSES_BUFFER: u8 = 1 << 5;
/// `IORING_ACCEPT_MULTISHOT`
const ACCEPTS_MANY: u16 = 1;
/// `IORING_RECV_MULTISHOT`
const RECEIVES_MANY: u16 = 1 << 1;
/// `IORING_CQE_F_BUFFER` and `IORING_CQE_F_MORE`
const HAS_BUFFER: u32 = 1;
const MORE: u32 = 1 << 1;

/// Room for so many entries.
const ENTRIES: u32 = 256;
/// How long the kernel's thread spins without anything to do, in milliseconds.
const SPINS_MS: u32 = 1000;

/// `struct io_uring_sqe`: something to do.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Entry {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    address: u64,
    bytes: u32,
    op_flags: u32,
    user_data: u64,
    buffer_group: u16,
    personality: u16,
    file_index: u32,
    reserved: [u64; 2],
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    /// Accept connections: one, or each that comes.
    #[must_use]
    pub fn accept(listener: i32, many: bool) -> Self {
        Self {
            opcode: OP_ACCEPT,
            ioprio: if many { ACCEPTS_MANY } else { 0 },
            fd: listener,
            ..Self::default()
        }
    }

    /// Receive into a buffer, once.
    #[must_use]
    pub fn receive(socket: i32, into: &mut [u8]) -> Self {
        Self {
            opcode: OP_RECEIVE,
            fd: socket,
            address: into.as_mut_ptr() as u64,
            bytes: into.len() as u32,
            ..Self::default()
        }
    }

    /// Receive whatever comes, each time into a buffer that was provided.
    #[must_use]
    pub fn receive_all(socket: i32) -> Self {
        Self {
            opcode: OP_RECEIVE,
            flags: CHOOSES_BUFFER,
            ioprio: RECEIVES_MANY,
            fd: socket,
            ..Self::default()
        }
    }

    /// Provide buffers of `each` bytes that lie one behind the other, of which the first has this number.
    #[must_use]
    pub fn provide(buffers: &mut [u8], each: usize, first: u16) -> Self {
        Self {
            opcode: OP_PROVIDE_BUFFERS,
            fd: (buffers.len() / each) as i32,
            offset: first.into(),
            address: buffers.as_mut_ptr() as u64,
            bytes: each as u32,
            ..Self::default()
        }
    }

    /// Read from a file.
    #[must_use]
    pub fn read(file: i32, offset: u64, into: &mut [u8]) -> Self {
        Self {
            opcode: OP_READ,
            fd: file,
            offset,
            address: into.as_mut_ptr() as u64,
            bytes: into.len() as u32,
            ..Self::default()
        }
    }

    /// Send all of it.
    #[must_use]
    pub fn send(socket: i32, from: &[u8]) -> Self {
        Self {
            opcode: OP_SEND,
            fd: socket,
            address: from.as_ptr() as u64,
            bytes: from.len() as u32,
            op_flags: (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32,
            ..Self::default()
        }
    }

    /// The same with a number by which its completion is known.
    #[must_use]
    pub fn with(self, user_data: u64) -> Self {
        Self { user_data, ..self }
    }
}

/// `struct io_uring_cqe`: something is done.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Completion {
    /// The number that its entry had.
    pub user_data: u64,
    /// What the call would have returned, or a negative errno.
    pub result: i32,
    flags: u32,
}

const _: () = assert!(size_of::<Completion>() == 16);

impl Completion {
    /// The number of the buffer that it used, if it chose one.
    #[must_use]
    pub fn buffer(&self) -> Option<u16> {
        (self.flags & HAS_BUFFER != 0).then_some((self.flags >> 16) as u16)
    }

    /// Will the same entry complete again?
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }
}

/// `struct io_sqring_offsets`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Submissions {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    address: u64,
}

/// `struct io_cqring_offsets`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Completions {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    overflow: u32,
    completions: u32,
    flags: u32,
    reserved: u32,
    address: u64,
}

/// `struct io_uring_params`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Params {
    submissions: u32,
    completions: u32,
    flags: u32,
    poller_cpu: u32,
    poller_idle_ms: u32,
    features: u32,
    workers_of: u32,
    reserved: [u32; 3],
    sq: Submissions,
    cq: Completions,
}

const _: () = assert!(size_of::<Params>() == 120);

/// A ring. Its memory stays mapped until the process ends.
pub struct Ring {
    fd: OwnedFd,
    params: Params,
    rings: *mut u8,
    entries: *mut Entry,
    /// Entries that the kernel was not told of.
    pushed: u32,
}

impl Ring {
    /// A ring of this thread. With `polled`, a thread of the kernel takes entries from it.
    ///
    /// # Errors
    /// If the kernel has none for us.
    pub fn new(polled: bool) -> io::Result<Self> {
        let mut params = Params {
            flags: SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN,
            ..Params::default()
        };
        if polled {
            params.flags = SETUP_SQPOLL;
            params.poller_idle_ms = SPINS_MS;
        }
        // SAFETY: `params` is valid for reads and writes of its type.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_io_uring_setup,
                ENTRIES,
                ptr::from_mut(&mut params),
            )
        };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let of_sq = params.sq.array as usize + 4 * params.submissions as usize;
        let of_cq =
            params.cq.completions as usize + size_of::<Completion>() * params.completions as usize;
        let rings = map(&fd, OFFSET_OF_RINGS, of_sq.max(of_cq))?;
        let of_entries = size_of::<Entry>() * params.submissions as usize;
        let entries = map(&fd, OFFSET_OF_ENTRIES, of_entries)?.cast();
        Ok(Self {
            fd,
            params,
            rings,
            entries,
            pushed: 0,
        })
    }

    /// A word of the memory that the kernel shares.
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel gave the offset, and the mapping lasts as long as the process.
        unsafe { &*self.rings.add(offset as usize).cast::<AtomicU32>() }
    }

    /// Puts an entry in. The kernel may see it from now on.
    ///
    /// # Errors
    /// If the ring is full and the kernel takes nothing from it.
    ///
    /// # Safety
    /// The memory of which the entry tells must stay where it is, and be used for nothing else, until the entry has completed.
    pub unsafe fn push(&mut self, entry: Entry) -> io::Result<()> {
        let sq = self.params.sq;
        let tail = self.word(sq.tail).load(Ordering::Relaxed);
        while tail.wrapping_sub(self.word(sq.head).load(Ordering::Acquire))
            >= self.params.submissions
        {
            self.enter(0)?;
            thread::yield_now();
        }
        let index = tail & self.word(sq.mask).load(Ordering::Relaxed);
        // SAFETY: the index is below the number of entries, and the kernel has taken what was there.
        unsafe { self.entries.add(index as usize).write(entry) };
        let place = self.word(sq.array + 4 * index);
        place.store(index, Ordering::Relaxed);
        let tail = tail.wrapping_add(1);
        self.word(sq.tail).store(tail, Ordering::Release);
        self.pushed += 1;
        Ok(())
    }

    /// Gives the kernel what was put in, and waits until so many completions are there.
    ///
    /// # Errors
    /// Those of `io_uring_enter(2)`, unless it may be tried again.
    pub fn enter(&mut self, least: u32) -> io::Result<()> {
        let mut flags = if least > 0 { ENTER_GETEVENTS } else { 0 };
        if self.params.flags & SETUP_SQPOLL != 0 {
            // The kernel's thread says that it sleeps, and then looks once more for entries.
            fence(Ordering::SeqCst);
            let of_ring = self.word(self.params.sq.flags).load(Ordering::Relaxed);
            if of_ring & SQ_NEED_WAKEUP != 0 {
                flags |= ENTER_SQ_WAKEUP;
            }
            if flags == 0 {
                self.pushed = 0;
                return Ok(());
            }
        }
        let pushed = mem::take(&mut self.pushed);
        let (fd, mask) = (self.fd.as_raw_fd(), ptr::null::<libc::sigset_t>());
        // SAFETY: numbers, and no mask of signals.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                pushed,
                least,
                flags,
                mask,
                0_usize,
            )
        };
        if taken >= 0 {
            self.pushed = pushed.saturating_sub(taken as u32);
            return Ok(());
        }
        self.pushed = pushed;
        let error = Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        }
    }

    /// Takes a completion out.
    pub fn pop(&mut self) -> Option<Completion> {
        let cq = self.params.cq;
        let head = self.word(cq.head).load(Ordering::Relaxed);
        if head == self.word(cq.tail).load(Ordering::Acquire) {
            return None;
        }
        let index = (head & self.word(cq.mask).load(Ordering::Relaxed)) as usize;
        let at = cq.completions as usize + size_of::<Completion>() * index;
        // SAFETY: the kernel gave the offset and has written the completion, as the tail says.
        let completion = unsafe { self.rings.add(at).cast::<Completion>().read() };
        self.word(cq.head)
            .store(head.wrapping_add(1), Ordering::Release);
        Some(completion)
    }
}

/// Maps memory of a ring.
fn map(fd: &OwnedFd, offset: i64, bytes: usize) -> io::Result<*mut u8> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_POPULATE,
    );
    // SAFETY: a new mapping, which nobody else knows.
    let mapped =
        unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, fd.as_raw_fd(), offset) };
    match mapped == libc::MAP_FAILED {
        true => Err(Error::last_os_error()),
        false => Ok(mapped.cast()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn a_file_is_read_through_a_ring() {
        // Some machines forbid rings.
        let Ok(mut ring) = Ring::new(false) else {
            return;
        };
        let file = File::open("/proc/self/exe").unwrap();
        let mut begin = [0; 4];
        let entry = Entry::read(file.as_raw_fd(), 0, &mut begin).with(7);
        // SAFETY: the buffer outlives the wait for its completion.
        unsafe { ring.push(entry) }.unwrap();
        let done = loop {
            ring.enter(1).unwrap();
            if let Some(done) = ring.pop() {
                break done;
            }
        };
        assert_eq!((done.user_data, done.result), (7, 4));
        assert_eq!(&begin, b"\x7fELF");
        assert!(ring.pop().is_none());
    }
}
