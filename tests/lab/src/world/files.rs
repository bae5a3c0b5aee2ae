//! Files for the scenes: text that compresses like text, the same in each run.

use std::{
    fs,
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

/// Writes `count` files of `bytes` each, of text that compresses like text.
pub(crate) fn write_files(dir: &Path, count: usize, bytes: usize) -> Result<()> {
    let text = text(1 << 20);
    for number in 0..count {
        let path = dir.join(format!("{number:04}.txt"));
        let writing = || format!("could not write {}", path.display());
        let mut file = BufWriter::new(fs::File::create(&path).with_context(writing)?);
        // No two files begin alike, so that nothing is gained by having seen another.
        let mut at = number * 4099 % text.len();
        let mut left = bytes;
        while left > 0 {
            let part = &text[at..text.len().min(at + left)];
            file.write_all(part).with_context(writing)?;
            left -= part.len();
            at = 0;
        }
        file.flush().with_context(writing)?;
    }
    Ok(())
}

/// Lets servers that run as other users into a directory.
pub(crate) fn open_to_others(dir: &Path) -> Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("could not open {} to others", dir.display()))
}

/// Words in an order that looks random and is the same each time.
fn text(bytes: usize) -> Vec<u8> {
    const WORDS: &str = "the server waits for a disk that a backup holds while every reader of old pages \
                         asks again and nobody knows whose turn it is at seven in the evening";
    let words: Vec<_> = WORDS.split_whitespace().collect();
    let mut text = Vec::with_capacity(bytes + 16);
    let mut state: u32 = 1;
    while text.len() < bytes {
        // Numerical Recipes' generator; its high bits are good enough for choosing words.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
        text.push(if state >> 29 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_each_time_and_has_the_length_asked_for() {
        assert_eq!(text(1000), text(1000));
        assert_eq!(text(1000).len(), 1000);
    }
}
