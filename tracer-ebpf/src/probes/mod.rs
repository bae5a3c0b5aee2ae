//! One module for each probe family: thin entries, one function each that does the work.

mod block;
mod irq;
mod packets;
mod proc;
mod sched;
mod tcp;
