//! One file for each probe family: thin entries, one function each that does the work.

mod bios;
mod block;
mod flow;
mod held_back;
mod irq;
mod link;
mod merged;
mod packets;
mod parents;
mod proc;
pub mod sched;
mod smt;
mod tcp;
mod tcp_calls;
mod unix;
mod wakeup;
mod work;
mod writeback;
