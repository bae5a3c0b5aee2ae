//! Compressors by their command lines: a line's level and threads, and the same line with the least of both.

/// A compressor's options on a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Level, if one is named.
    pub level: Option<u32>,
    /// Threads, if they are named; 0 stands for all CPUs.
    pub threads: Option<u32>,
    /// The line without either.
    pub rest: Vec<String>,
    /// Does it decompress?
    pub decompresses: bool,
}

/// A compressor that takes its level as `-9`.
pub(super) struct Compressor {
    pub name: &'static str,
    /// Its default level, and the least.
    pub usual: u32,
    pub least: u32,
    /// The option that sets threads (`-T`), and whether it uses all CPUs by default.
    pub threads: Option<(&'static str, bool)>,
    /// A compressor that is ended leaves the part of its output that it wrote. Started again, it does not overwrite that unasked.
    pub leaves: bool,
    pub manual: &'static str,
}

/// bzip2 is left out: its levels choose the size of a block. They change its memory, hardly its time (bzip2(1)).
pub(super) const COMPRESSORS: [Compressor; 7] = [
    Compressor {
        name: "gzip",
        usual: 6,
        least: 1,
        threads: None,
        leaves: false,
        manual: "gzip(1)",
    },
    Compressor {
        name: "pigz",
        usual: 6,
        least: 1,
        threads: Some(("-p", true)),
        leaves: true,
        manual: "pigz(1)",
    },
    Compressor {
        name: "xz",
        usual: 6,
        least: 0,
        threads: Some(("-T", true)),
        leaves: false,
        manual: "xz(1)",
    },
    Compressor {
        name: "lzma",
        usual: 6,
        least: 0,
        threads: None,
        leaves: false,
        manual: "xz(1)",
    },
    Compressor {
        name: "zstd",
        usual: 3,
        least: 1,
        threads: Some(("-T", false)),
        leaves: true,
        manual: "zstd(1)",
    },
    Compressor {
        name: "zstdmt",
        usual: 3,
        least: 1,
        threads: Some(("-T", true)),
        leaves: true,
        manual: "zstd(1)",
    },
    Compressor {
        name: "lz4",
        usual: 1,
        least: 1,
        threads: None,
        leaves: true,
        manual: "lz4(1)",
    },
];

impl Compressor {
    pub(super) fn of(comm: &str) -> Option<&'static Self> {
        COMPRESSORS
            .iter()
            .find(|compressor| compressor.name == comm)
    }

    /// Reads a command line.
    pub(super) fn told(&self, words: &[String]) -> Told {
        let mut told = Told {
            level: None,
            threads: None,
            rest: Vec::new(),
            decompresses: false,
        };
        let flag = self.threads.map_or("", |(flag, _)| flag);
        let mut words = words.iter();
        told.rest.extend(words.next().cloned());
        let mut ended = false;
        while let Some(word) = words.next() {
            let number = |text: &str| text.parse::<u32>().ok();
            if ended || !word.starts_with('-') || word == "-" {
                told.rest.push(word.clone());
            } else if word == "--" {
                ended = true;
                told.rest.push(word.clone());
            } else if let Some(count) = word
                .strip_prefix("--threads=")
                .or_else(|| word.strip_prefix("--processes="))
            {
                told.threads = number(count);
            } else if word == "--processes" || (!flag.is_empty() && word == flag) {
                told.threads = words.next().and_then(|count| number(count));
            } else if let Some(count) = word
                .strip_prefix(flag)
                .filter(|_| !flag.is_empty())
                .and_then(number)
            {
                told.threads = Some(count);
            } else if word == "--fast" || word.starts_with("--fast=") {
                told.level = Some(self.least);
            } else if word == "--best" || word == "--ultra" || word == "--extreme" {
                told.level = told.level.or(Some(9));
            } else if word.starts_with("--") {
                told.decompresses |= matches!(
                    word.as_str(),
                    "--decompress" | "--uncompress" | "--test" | "--list"
                );
                told.rest.push(word.clone());
            } else {
                told.cluster(word);
            }
        }
        told
    }

    /// Single letters and a level: `-9cv`. Letters with a value of their own are left as they are.
    fn is_cluster(word: &str) -> bool {
        word[1..]
            .chars()
            .all(|c| c.is_ascii_digit() || "cdkfqvtlrzne".contains(c))
    }
}

impl Told {
    fn cluster(&mut self, word: &str) {
        if !Compressor::is_cluster(word) {
            self.rest.push(word.to_owned());
            return;
        }
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        if let Ok(level) = digits.parse() {
            self.level = Some(level);
        }
        let letters: String = word[1..]
            .chars()
            .filter(|c| !c.is_ascii_digit() && *c != 'e')
            .collect();
        self.decompresses |= letters.contains(['d', 't', 'l']);
        if !letters.is_empty() {
            self.rest.push(format!("-{letters}"));
        }
    }
}
