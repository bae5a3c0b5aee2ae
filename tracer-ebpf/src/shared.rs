//! Names under which user space looks for maps.

/// Asserts that maps have the names that user space knows: `#[map]` takes the name of the static, and no constant.
macro_rules! shared {
    ($($map:ident = $name:path),+ $(,)?) => {$(
        const _: () = {
            let _exists = &raw const $map;
            assert!($crate::shared::is_same(stringify!($map), $name));
        };
    )+};
}
pub(crate) use shared;

/// `==` of strings is not for constants.
pub(crate) const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
