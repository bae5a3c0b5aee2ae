//! The kernel half of `tracer`: programs that read, filter and emit facts. User space judges.
//!
//! Reading order: [`kernel`] reads the kernel's structures, [`filter`] decides which processes are targets, and [`emit`] writes to
//! the ring buffers. [`cpus`], [`disks`] and [`sockets`] own the state of each CPU, disk and socket, and the gates. [`stack`],
//! [`histograms`], [`quota`], [`shed`] and [`lru`] serve several families. [`probes`] has one module for each family.
//!
//! The programs use only features of 5.10: no bounded-loop helper, no task storage, add-only atomics, 512 bytes of stack. On 5.10
//! and 5.15 an interrupt may run another of these programs in the middle of one. So there is no per-CPU scratch space.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod cpus;
mod disks;
mod emit;
mod filter;
mod histograms;
mod kernel;
mod lru;
mod probes;
mod quota;
mod shared;
mod shed;
mod sockets;
mod stack;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
