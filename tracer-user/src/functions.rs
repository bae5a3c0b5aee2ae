//! Functions of kernel stacks, by patterns for their names.

/// Functions that wait for a lock or a lease on a file, 5.10 to 7.2.
pub(crate) const FILE_LOCKS: [&str; 5] = [
    "flock_lock_inode_wait",
    "locks_lock_inode_wait",
    "posix_lock_inode_wait",
    "fcntl_setlk*",
    "__break_lease",
];

/// Functions that wait for a futex, 5.10 to 7.2.
pub(crate) const FUTEXES: [&str; 2] = ["do_futex", "futex_*"];

/// Functions that wait for the next connection, 5.10 to 7.2.
pub(crate) const ACCEPTS: [&str; 3] = [
    "inet_csk_accept",
    "inet_csk_wait_for_connect",
    "unix_accept",
];

/// A name without the suffix that a compiler appended (`.isra.0`, `.constprop.0`).
pub(crate) fn plain(function: &str) -> &str {
    function.split('.').next().unwrap_or(function)
}

/// Does `pattern` stand for `function`, which has no suffix? A pattern that ends in `*` is a prefix.
pub(crate) fn is_meant(pattern: &str, function: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(function == pattern, |prefix| function.starts_with(prefix))
}

/// Has a stack a function for which one of the patterns stands?
pub(crate) fn has_any(stack: &[String], patterns: &[&str]) -> bool {
    let is_there = |function: &str| patterns.iter().any(|pattern| is_meant(pattern, function));
    stack.iter().any(|function| is_there(plain(function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_a_name_with_any_suffix_and_with_a_star_for_longer_ones() {
        let has = |pattern| {
            has_any(
                &["schedule".to_owned(), "do_futex.isra.0".to_owned()],
                &[pattern],
            )
        };
        assert!(has("do_futex"));
        assert!(has("do_fut*"));
        assert!(!has("do_fut"));
        assert!(!has("do_futex_wait"));
        assert!(!has_any(&[], &["*"]));
    }
}
