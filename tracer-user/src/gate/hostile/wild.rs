//! Any value of any type that can be decoded: numbers that mean something, numbers at the limits of their types, names made to harm.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _, SeqAccess,
    VariantAccess, Visitor,
    value::{Error, U32Deserializer},
};

use crate::model::scenes::{KWORKER, MS, RSYNC, SERVER, T0, TAR, WORKER};

/// Numbers of the scenes: processes, threads, sockets, stacks, devices, ports.
const KNOWN: [u64; 12] = [
    SERVER as u64,
    WORKER as u64,
    TAR as u64,
    RSYNC as u64,
    KWORKER as u64,
    5,
    7,
    8,
    9,
    80,
    8192,
    1 << 20,
];

/// Events of which most recordings are full.
const USUAL: [&str; 14] = [
    "Wait",
    "Slice",
    "Io",
    "Call",
    "Link",
    "Queue",
    "Flow",
    "Fork",
    "Exit",
    "Opened",
    "Delivered",
    "Interrupts",
    "Packets",
    "Follow",
];

/// Names, addresses, functions and titles.
const TEXTS: [&str; 24] = [
    "",
    "nginx",
    "eth0",
    "sda",
    "10.0.0.1:80",
    "127.0.0.1:40000",
    "127.0.0.1:80",
    "[::ffff:10.0.0.2]:53",
    "ep_poll",
    "schedule",
    "futex_wait",
    "pipe_write",
    "io_schedule",
    "sk_stream_wait_memory",
    "get_signal",
    "jbd2/sda1-8",
    "postgres: a shop 10.0.0.3(41) idle in transaction",
    "postgres: parallel worker for PID 100",
    "waits",
    "a;b c\n9",
    "\u{1b}[2J\u{9b}31m",
    "\u{202e}gnp\u{2066}\u{200f}\u{61c}",
    "<script>&\"']]>\u{fffe}\u{0}",
    "größe 日本 🦀 e\u{301}",
];

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(super) fn number(&mut self) -> u64 {
        match self.below(100) {
            0..25 => self.below(4),
            25..50 => self.one(&KNOWN),
            50..84 => T0 - 100 * MS + self.below(2000) * MS,
            84..90 => self.next() >> 44,
            90..98 => {
                let power = 1_u64 << self.below(64);
                power.wrapping_add(self.below(3)).wrapping_sub(1)
            }
            _ => self.next(),
        }
    }

    pub(super) fn text(&mut self) -> String {
        match self.below(1000) {
            0 => "argument\u{7}".repeat(1 << 12),
            _ => self.one(&TEXTS).to_owned(),
        }
    }

    fn length(&mut self) -> usize {
        let most = match self.below(100) {
            0..70 => 4,
            70..98 => 12,
            _ => 300,
        };
        self.below(most) as usize
    }

    fn variant(&mut self, variants: &[&str]) -> u32 {
        let usual = self.one(&USUAL);
        let known = variants.iter().position(|name| *name == usual);
        match known.filter(|_| self.below(2) == 0) {
            Some(index) => index as u32,
            None => self.below(variants.len() as u64) as u32,
        }
    }
}

/// The items of a list, a tuple or a struct.
struct Items<'a> {
    random: &'a mut Random,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.random).map(Some)
    }
}

/// One variant of an enum.
struct One<'a> {
    random: &'a mut Random,
    index: u32,
}

impl<'de, 'a> EnumAccess<'de> for One<'a> {
    type Error = Error;
    type Variant = &'a mut Random;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Error> {
        let index: U32Deserializer<Error> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self.random))
    }
}

impl<'de> VariantAccess<'de> for &mut Random {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { random: self, left })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.tuple_variant(fields.len(), visitor)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number() as $type)
        }
    )+};
}

macro_rules! never {
    ($($method:ident),+) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("no event has it"))
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Random {
    type Error = Error;

    numbers!(
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64
    );

    never!(
        deserialize_any,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_map,
        deserialize_identifier,
        deserialize_ignored_any
    );

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.below(2) == 0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char(self.one(&['S', 'R', 'D', 'T', 't', 'Z', '\u{1b}', '\u{10ffff}']))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.below(2) {
            0 => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.length();
        self.deserialize_tuple(left, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { random: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(left, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let index = self.variant(variants);
        visitor.visit_enum(One {
            random: self,
            index,
        })
    }
}
