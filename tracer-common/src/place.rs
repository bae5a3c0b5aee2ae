//! The marks by which the way into a sleep is known again without its stack: the registers of user space (`struct pt_regs` of x86_64),
//! which lie at the top of the kernel stack.

/// Words from there up to the top of the stack that are read. `si`, `di`, `orig_ax`, `ip` and `cs` are the last five; with
/// `CONFIG_X86_FRED` (6.9 and later) two more words lie above them, and they are the first five.
pub const WORDS: usize = 7;

/// Bytes from the first of these words to the top of the stack.
pub const FROM_TOP: u64 = 8 * (WORDS as u64 + 3);

/// The segment of a 64-bit program (`__USER_CS`), in the low bits of `cs`. One of 32 bits has its arguments in other registers.
const USER: u64 = 0x33;
const SEGMENT: u64 = 0xffff;

/// Stands for the instruction that entered the kernel, the system call and its first two arguments. 0 if that is not known: of a thread of
/// the kernel, and of one that the kernel made for a process. A worker of io_uring has the registers of whoever made it, without an
/// instruction, whatever it does.
#[inline(always)]
#[must_use]
pub fn entry(words: &[u64; WORDS]) -> u64 {
    let (second, first, call, instruction) = if words[6] & SEGMENT == USER {
        (words[2], words[3], words[4], words[5])
    } else if words[4] & SEGMENT == USER {
        (words[0], words[1], words[2], words[3])
    } else {
        return 0;
    };
    if instruction == 0 {
        return 0;
    }
    mix(mix(mix(mix(0, first), second), call), instruction) | 1
}

/// Adds a mark to those of a place.
#[inline(always)]
#[must_use]
pub fn mix(place: u64, mark: u64) -> u64 {
    let mixed = (place ^ mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `si`, `di`, `orig_ax`, `ip`, `cs` of a call of `read`.
    const READ: [u64; 5] = [0x7f00_0000_1000, 7, 0, 0x7f00_0000_2000, USER];

    /// They are the last words before the top of the stack.
    fn last(registers: [u64; 5]) -> u64 {
        let [second, first, call, instruction, segment] = registers;
        entry(&[9, 9, second, first, call, instruction, segment])
    }

    /// Flags and the stack of user space are above them, and two words that are not read.
    fn with_fred(registers: [u64; 5]) -> u64 {
        let [second, first, call, instruction, segment] = registers;
        entry(&[
            second,
            first,
            call,
            instruction,
            segment,
            0x246,
            0x7ffc_0000_0010,
        ])
    }

    #[test]
    fn the_same_way_has_the_same_marks_wherever_the_registers_lie() {
        assert_ne!(last(READ), 0);
        assert_eq!(last(READ), with_fred(READ));
        // The upper bits of the word with `cs` tell more, with FRED.
        let event = [READ[0], READ[1], READ[2], READ[3], (3 << 16) | USER];
        assert_eq!(with_fred(event), with_fred(READ));
    }

    #[test]
    fn another_argument_call_or_instruction_is_another_way() {
        for register in 0..4 {
            let mut other = READ;
            other[register] += 1;
            assert_ne!(last(other), last(READ), "{register}");
        }
    }

    #[test]
    fn who_did_not_enter_by_a_call_of_64_bits_has_no_marks() {
        let with = |instruction, segment| [READ[0], READ[1], READ[2], instruction, segment];
        // A program of 32 bits, the kernel itself, a worker of io_uring.
        for none in [with(READ[3], 0x23), with(READ[3], 0x10), with(0, USER)] {
            assert_eq!((last(none), with_fred(none)), (0, 0));
        }
        assert_eq!(entry(&[0; WORDS]), 0);
    }
}
