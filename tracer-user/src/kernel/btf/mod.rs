//! Reads the kernel's own type information (BTF): member offsets and tracepoint prototypes.
//!
//! aya keeps its BTF types private, so this is the part of a reader that `tracer` needs. Format: `include/uapi/linux/btf.h` and
//! `Documentation/bpf/btf.rst`. Every read is length-checked: a corrupt file is an error, never a panic.

mod bytes;
mod hooks;
mod modules;

use std::{collections::HashMap, ops::Range, path::Path};

use anyhow::{Context, Result, bail, ensure};

use self::{
    bytes::Bytes,
    modules::{Module, refers},
};
use super::parents;
use crate::probes::{block::MODULES, packets::TRACKING};

const MAGIC: u16 = 0xeb9f;
/// Length of `struct btf_header`, bytes.
const HEADER: u32 = 24;
/// Prefix of the typedef that stands for a tracepoint.
const TRACEPOINT: &str = "btf_trace_";

/// Kinds (`BTF_KIND_*`).
mod kind {
    pub(crate) const INT: u32 = 1;
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const ENUM: u32 = 6;
    pub(crate) const FWD: u32 = 7;
    pub(crate) const TYPEDEF: u32 = 8;
    pub(crate) const VOLATILE: u32 = 9;
    pub(crate) const CONST: u32 = 10;
    pub(crate) const RESTRICT: u32 = 11;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
    pub(crate) const VAR: u32 = 14;
    pub(crate) const DATASEC: u32 = 15;
    pub(crate) const FLOAT: u32 = 16;
    pub(crate) const DECL_TAG: u32 = 17;
    pub(crate) const TYPE_TAG: u32 = 18;
    pub(crate) const ENUM64: u32 = 19;
}

/// Types nest through typedefs and qualifiers; a file that nests deeper is corrupt.
const DEEPEST: usize = 32;

/// The place of a member in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Offset of the byte in which it begins.
    pub(crate) byte_offset: u32,
    /// Its first bit in that byte.
    pub(crate) bit_offset: u8,
    /// Its width in bits if it is a bit-field, else 0.
    pub(crate) bit_size: u8,
}

/// An argument of a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Structure that it points to, if it does.
    pub(crate) pointee: Option<String>,
}

/// The parsed type information.
pub(crate) struct Btf {
    kernel: Bytes,
    /// The bytes of all modules, one behind the other.
    module_bytes: Vec<u8>,
    modules: Vec<Module>,
    /// Offset of each type in `kernel`, and of a module's type that of `module_bytes` plus the length of `kernel`. Type 0 is void.
    types: Vec<u32>,
    /// Number of the kernel's own types, void included; behind them are the modules'.
    own: usize,
    /// The kernel's names, and behind them the modules'.
    strings: Vec<Range<usize>>,
    /// Structures and unions, in order of the hash of their name, then of number: several may have one name. There are ten
    /// thousand, and thirty are needed. A string for each would take longer than reading them all.
    structures: Vec<(u64, u32)>,
    /// `btf_trace_*` typedefs by the name of their tracepoint.
    tracepoints: HashMap<String, u32>,
    /// Functions by name: only TCP's, those that send datagrams, and those that freeze file systems, because nothing else hooks
    /// functions. Also the one that stands for the iterator over tasks.
    functions: HashMap<String, u32>,
    /// The section of per-CPU variables.
    per_cpu: Option<Type>,
}

/// A decoded type header.
#[derive(Clone, Copy)]
struct Type {
    /// Offset of the bytes behind the header.
    tail: usize,
    name: u32,
    kind: u32,
    /// Bit 31 of `info`: members carry bit-field sizes.
    flag: bool,
    count: usize,
    /// Size or referenced type.
    value: u32,
}

/// Does `text` begin with the name of a function that may be hooked?
fn is_hooked(text: &[u8]) -> bool {
    let is = |name: &str| {
        let rest = text.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&0))
    };
    let others = ["udp_sendmsg", "udpv6_sendmsg", "freeze_super", "thaw_super"];
    text.starts_with(b"tcp_") || is(parents::FUNCTION) || others.into_iter().any(is)
}

impl Btf {
    /// Reads the types of the running kernel, and those of the modules of file systems and of connection tracking that are loaded.
    ///
    /// # Errors
    /// If the kernel has no BTF or it cannot be understood. If a module's cannot, only its probes are missing.
    pub(crate) fn of_kernel() -> Result<Self> {
        let path = "/sys/kernel/btf/vmlinux";
        let bytes = Bytes::of(Path::new(path)).with_context(|| {
            format!("cannot read {path}: this kernel was built without CONFIG_DEBUG_INFO_BTF")
        })?;
        let mut btf = Self::of(bytes).with_context(|| format!("cannot understand {path}"))?;
        for name in MODULES.into_iter().chain([TRACKING]) {
            if let Ok(module) = std::fs::read(format!("/sys/kernel/btf/{name}")) {
                let _ = btf.extend(&module);
            }
        }
        Ok(btf)
    }

    /// Parses a blob of the tests' own making.
    #[cfg(test)]
    fn parse(bytes: Vec<u8>) -> Result<Self> {
        Self::of(Bytes::Copied(bytes))
    }

    /// Parses a BTF blob.
    ///
    /// # Errors
    /// If the blob is cut, corrupt, of the other byte order, or has an unknown kind of type.
    fn of(kernel: Bytes) -> Result<Self> {
        let (types, strings) = sections(&kernel)?;
        let mut btf = Self {
            kernel,
            module_bytes: Vec::new(),
            modules: Vec::new(),
            types: vec![0],
            own: 0,
            strings: vec![strings],
            structures: Vec::new(),
            tracepoints: HashMap::new(),
            functions: HashMap::new(),
            per_cpu: None,
        };
        btf.index(types)?;
        btf.own = btf.types.len();
        Ok(btf)
    }

    /// Finds the begin of each type, and the names that are needed.
    fn index(&mut self, section: Range<usize>) -> Result<()> {
        let outcome = self.scan(section);
        self.structures.sort_unstable();
        outcome
    }

    fn scan(&mut self, section: Range<usize>) -> Result<()> {
        let mut at = section.start;
        while at < section.end {
            let found = self.header(at)?;
            let id = self.types.len() as u32;
            self.types.push(at as u32);
            at = found.tail + tail_length(&found)?;
            ensure!(at <= section.end, "type {id} reaches beyond its section");
            match found.kind {
                kind::STRUCT | kind::UNION => {
                    let hash = hash(self.string(found.name)?);
                    self.structures.push((hash, id));
                }
                // The first of a name counts, because aya takes the first too.
                kind::TYPEDEF if self.text(found.name)?.starts_with(TRACEPOINT.as_bytes()) => {
                    let name = self.string(found.name)?[TRACEPOINT.len()..].to_owned();
                    self.tracepoints.entry(name).or_insert(id);
                }
                kind::DATASEC if self.string(found.name)? == ".data..percpu" => {
                    self.per_cpu = Some(found);
                }
                kind::FUNC if is_hooked(self.text(found.name)?) => {
                    let name = self.string(found.name)?.to_owned();
                    self.functions.entry(name).or_insert(id);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All that is behind a place, of the kernel or of the modules.
    fn behind(&self, at: usize) -> &[u8] {
        let (bytes, at) = match at.checked_sub(self.kernel.len()) {
            None => (&*self.kernel, at),
            Some(at) => (&*self.module_bytes, at),
        };
        bytes.get(at..).unwrap_or_default()
    }

    fn word(&self, at: usize) -> Result<u32> {
        let word = self.behind(at).first_chunk();
        word.map(|word| u32::from_le_bytes(*word))
            .with_context(|| format!("cut off at byte {at}"))
    }

    fn header(&self, at: usize) -> Result<Type> {
        let info = self.word(at + 4)?;
        let kind = info >> 24 & 0x1f;
        Ok(Type {
            tail: at + 12,
            name: self.name(at)?,
            kind,
            flag: info >> 31 != 0,
            count: (info & 0xffff) as usize,
            value: if refers(kind) {
                self.id(at + 8)?
            } else {
                self.word(at + 8)?
            },
        })
    }

    /// The strings from an offset on.
    fn text(&self, offset: u32) -> Result<&[u8]> {
        let mut at = offset as usize;
        let mut sections = self.strings.iter();
        let strings = loop {
            let section = sections.next().context("a name lies outside the strings")?;
            if at < section.len() {
                break self.behind(section.start).get(..section.len());
            }
            at -= section.len();
        };
        strings
            .and_then(|strings| strings.get(at..))
            .context("a name lies outside the strings")
    }

    fn string(&self, offset: u32) -> Result<&str> {
        let rest = self.text(offset)?;
        let end = rest
            .iter()
            .position(|byte| *byte == 0)
            .context("a name has no end")?;
        std::str::from_utf8(&rest[..end]).context("a name is not UTF-8")
    }

    fn get(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        self.header(at as usize).ok()
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEEPEST {
            let found = self.get(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.value;
                }
                _ => return Some(found),
            }
        }
        None
    }

    /// Finds `path` (members separated by dots, through anonymous structures and unions) in the structure `name`.
    #[must_use]
    pub(crate) fn member(&self, name: &str, path: &str) -> Option<Member> {
        self.named(name).find_map(|found| self.path(found, path))
    }

    /// Size of a structure, bytes; `None` if the kernel has none of this name.
    #[must_use]
    pub(crate) fn size(&self, name: &str) -> Option<u32> {
        Some(self.named(name).next()?.value)
    }

    /// The structures of this name.
    fn named(&self, name: &str) -> impl Iterator<Item = Type> {
        let hash = hash(name);
        let first = self.structures.partition_point(|(other, _)| *other < hash);
        let same = self.structures[first..].iter();
        same.take_while(move |(other, _)| *other == hash)
            .filter_map(|(_, id)| self.get(*id))
            .filter(move |found| self.string(found.name).is_ok_and(|other| other == name))
    }

    fn path(&self, structure: Type, path: &str) -> Option<Member> {
        let mut structure = structure;
        let mut bits = 0;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let (offset, size, of) = self.find(structure, part, 0)?;
            bits = offset.saturating_add(bits);
            if parts.peek().is_none() {
                return Some(Member {
                    byte_offset: bits / 8,
                    bit_offset: (bits % 8) as u8,
                    bit_size: size,
                });
            }
            structure = self.resolve(of).filter(is_structure)?;
        }
        None
    }

    /// Bit offset, bit-field size and type of a member, looked for in anonymous members too.
    fn find(&self, structure: Type, name: &str, depth: usize) -> Option<(u32, u8, u32)> {
        if depth > DEEPEST {
            return None;
        }
        for index in 0..structure.count {
            let at = structure.tail + 12 * index;
            let member = self.string(self.name(at).ok()?).ok()?;
            let of = self.id(at + 4).ok()?;
            let place = self.word(at + 8).ok()?;
            let (offset, size) = if structure.flag {
                (place & 0xff_ffff, (place >> 24) as u8)
            } else {
                (place, 0)
            };
            if member == name {
                return Some((
                    offset,
                    if size > 0 {
                        size
                    } else {
                        self.old_bit_field(of, offset)
                    },
                    of,
                ));
            }
            if member.is_empty()
                && let Some(inner) = self.resolve(of).filter(is_structure)
                && let Some((inside, size, of)) = self.find(inner, name, depth + 1)
            {
                return Some((offset.saturating_add(inside), size, of));
            }
        }
        None
    }

    /// Width of a bit-field in the old encoding, an `INT` of its own; 0 for any other type.
    fn old_bit_field(&self, of: u32, offset: u32) -> u8 {
        let Some(int) = self.resolve(of).filter(|found| found.kind == kind::INT) else {
            return 0;
        };
        let bits = self.word(int.tail).unwrap_or(0) & 0xff;
        if bits < int.value.saturating_mul(8) || !offset.is_multiple_of(8) {
            bits as u8
        } else {
            0
        }
    }

    /// Arguments of a tracepoint after its private one; `None` if the kernel has no such tracepoint.
    #[must_use]
    pub(crate) fn tracepoint(&self, name: &str) -> Option<Vec<Argument>> {
        let pointer = self
            .resolve(*self.tracepoints.get(name)?)
            .filter(|found| found.kind == kind::PTR)?;
        let prototype = self
            .resolve(pointer.value)
            .filter(|found| found.kind == kind::FUNC_PROTO)?;
        let arguments = (1..prototype.count)
            .map(|index| self.argument(self.id(prototype.tail + 8 * index + 4).ok()?));
        arguments.collect()
    }

    /// Offset of a per-CPU variable in its section, bytes. `None` if the kernel has none of this name, or its BTF lists no such
    /// variables.
    #[must_use]
    pub(crate) fn per_cpu(&self, name: &str) -> Option<u32> {
        let section = self.per_cpu?;
        (0..section.count).find_map(|index| {
            let at = section.tail + 12 * index;
            let variable = self.get(self.word(at).ok()?)?;
            let found = self.string(variable.name).ok()? == name;
            found.then(|| self.word(at + 4).ok())?
        })
    }

    /// Number of arguments of a TCP function; `None` if the kernel has no such function that can be hooked.
    #[must_use]
    pub(crate) fn arguments(&self, function: &str) -> Option<usize> {
        let function = self.get(*self.functions.get(function)?)?;
        Some(self.get(function.value)?.count)
    }

    fn argument(&self, id: u32) -> Option<Argument> {
        let pointee = self
            .resolve(id)
            .filter(|found| found.kind == kind::PTR)
            .and_then(|pointer| self.resolve(pointer.value));
        let pointee = pointee.filter(|found| is_structure(found) || found.kind == kind::FWD);
        Some(Argument {
            pointee: pointee.and_then(|found| self.string(found.name).ok().map(str::to_owned)),
        })
    }
}

/// FNV-1a: names are few and short, and not chosen to collide.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The places of types and names in a blob.
fn sections(bytes: &[u8]) -> Result<(Range<usize>, Range<usize>)> {
    ensure!(
        bytes.len() >= 24,
        "{} bytes are too few for a BTF header",
        bytes.len()
    );
    let magic = u16::from_le_bytes([bytes[0], bytes[1]]);
    ensure!(
        magic == MAGIC,
        "the magic number is {magic:#06x}, not {MAGIC:#06x}"
    );
    let word = |at: usize| u32_at(bytes, at).map(|word| word as usize);
    let (header, type_off, type_len, str_off, str_len) =
        (word(4)?, word(8)?, word(12)?, word(16)?, word(20)?);
    let section = |offset: usize, length: usize| -> Result<Range<usize>> {
        let begin = header.checked_add(offset).context("a section overflows")?;
        let end = begin.checked_add(length).context("a section overflows")?;
        ensure!(
            end <= bytes.len(),
            "a section ends at byte {end} of {}",
            bytes.len()
        );
        Ok(begin..end)
    };
    Ok((section(type_off, type_len)?, section(str_off, str_len)?))
}

fn is_structure(found: &Type) -> bool {
    found.kind == kind::STRUCT || found.kind == kind::UNION
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let word = at
        .checked_add(4)
        .and_then(|end| bytes.get(at..end))
        .with_context(|| format!("cut off at byte {at}"))?;
    Ok(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// Bytes that follow the header of a type.
fn tail_length(found: &Type) -> Result<usize> {
    Ok(match found.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * found.count,
        kind::ENUM | kind::FUNC_PROTO => 8 * found.count,
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        unknown => bail!("kind {unknown} is not known: the kernel is newer than this program"),
    })
}

#[cfg(test)]
mod tests;
