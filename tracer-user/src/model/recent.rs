//! Search from the end: what is looked for in a time line is nearly always among the last.

use std::collections::VecDeque;

/// As [`VecDeque::partition_point`]; the further from the end it is, the longer it takes.
#[must_use]
pub(crate) fn partition_point<T>(all: &VecDeque<T>, before: impl Fn(&T) -> bool) -> usize {
    let (mut end, mut step) = (all.len(), 1);
    let mut begin = loop {
        let Some(at) = end.checked_sub(step) else {
            break 0;
        };
        if before(&all[at]) {
            break at + 1;
        }
        end = at;
        step *= 2;
    };
    while begin < end {
        let middle = usize::midpoint(begin, end);
        if before(&all[middle]) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_wherever_it_is() {
        for length in 0..70 {
            let all: VecDeque<u32> = (0..length).collect();
            for limit in 0..=length + 1 {
                let found = partition_point(&all, |n| *n < limit);
                assert_eq!(found, all.partition_point(|n| *n < limit));
            }
        }
    }
}
