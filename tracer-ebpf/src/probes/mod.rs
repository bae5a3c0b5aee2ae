//! One module for each probe family. The entries are thin; one function for each does the work.

mod block;
mod irq;
mod lock;
mod packets;
mod proc;
mod sched;
mod tcp;
