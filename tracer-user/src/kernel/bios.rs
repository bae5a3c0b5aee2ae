//! Requests in flight, from the kernel half's table of bios. It is an array of thousands of places, and few are taken. So it is
//! mapped and searched: reading would take a system call for each place.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use aya::{Ebpf, maps::Map};
use memmap2::MmapOptions;
use tracer_common::block::{BIO_WAYS, BIOS_MAP, BioState, RequestState};

/// Places for each CPU. Enough for 32 queues of 256 requests with one bio, or for fewer requests with more bios.
const EACH_CPU: u32 = 8192;
/// The fewest places.
const FEWEST: u32 = 1 << 14;
/// The most places: 4 MB.
const MOST: u32 = 1 << 16;

/// Number of places on a machine with this many CPUs: a power of two.
#[must_use]
pub(crate) fn places(cpus: u32) -> u32 {
    (cpus.saturating_mul(EACH_CPU))
        .clamp(FEWEST, MOST)
        .next_power_of_two()
}

/// The bits of an index that give the begin of its set.
#[must_use]
pub(crate) fn mask(places: u32) -> u32 {
    (places - 1) & !(BIO_WAYS - 1)
}

/// The requests that the devices have; none if the table cannot be mapped.
#[must_use]
pub(crate) fn issued(ebpf: &Ebpf) -> Vec<RequestState> {
    let Some(Map::Array(map)) = ebpf.map(BIOS_MAP) else {
        return Vec::new();
    };
    let Ok(info) = map.info() else {
        return Vec::new();
    };
    let count = info.max_entries() as usize;
    let fd = map.fd().as_fd().as_raw_fd();
    let bytes = count * size_of::<BioState>();
    let Ok(mapping) = MmapOptions::new().len(bytes).map_raw_read_only(fd) else {
        return Vec::new();
    };
    let places = ptr::slice_from_raw_parts(mapping.as_ptr().cast::<BioState>(), count);
    let mut issued = Vec::new();
    for at in 0..count {
        // SAFETY: within the mapping, which is of whole values; the kernel may write to it meanwhile.
        let bio = unsafe { (&raw const (*places)[at]).read_volatile() };
        if bio.key != 0 && bio.request.issue_ns != 0 {
            issued.push(bio.request);
        }
    }
    issued
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lies_within_the_table_on_any_machine() {
        for cpus in [1, 2, 3, 8, 9, 500, u32::MAX] {
            let places = places(cpus);
            assert!(places.is_power_of_two() && (FEWEST..=MOST).contains(&places));
            assert_eq!(mask(places) + BIO_WAYS, places);
        }
    }
}
