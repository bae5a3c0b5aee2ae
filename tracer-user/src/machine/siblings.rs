//! Hyperthreads: the CPUs that are siblings.

use std::fs;

/// Pairs of a CPU and its sibling, for each CPU that has one. Of several siblings (POWER has four threads in a core) the next one stands
/// for all.
#[must_use]
pub(crate) fn siblings(cpus: u32) -> Vec<(u32, u32)> {
    let sibling = |cpu: u32| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        Some((cpu, next(cpu, &fs::read_to_string(path).ok()?)?))
    };
    (0..cpus).filter_map(sibling).collect()
}

/// The CPU after `cpu` in a list like `0,4` or `0-3`; after the last comes the first. `None` if it is alone.
fn next(cpu: u32, list: &str) -> Option<u32> {
    let mut all = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        all.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    let after = all.iter().find(|other| **other > cpu).or(all.first());
    after.copied().filter(|other| *other != cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sibling_is_the_next_of_the_list_and_a_cpu_alone_has_none() {
        assert_eq!(next(0, "0,4\n"), Some(4));
        assert_eq!(next(4, "0,4\n"), Some(0));
        assert_eq!(next(1, "0-3\n"), Some(2));
        assert_eq!(next(3, "0-3\n"), Some(0));
        assert_eq!(next(1, "1\n"), None);
        assert_eq!(next(1, ""), None);
    }
}
