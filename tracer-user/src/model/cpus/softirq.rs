//! Softirqs that move packets. Their time on a CPU is divided among the owners of the packets that they moved there meanwhile.
//!
//! An owner's packets are known when it moves more in a later slice. So a slice is charged once it is old, and then it is forgotten.

use std::collections::BTreeMap;

use tracer_common::{irq::SOFTIRQS, packets::SLICE_NS};

use crate::{
    class::Resource,
    event::{Packets, Source},
    model::{
        account::{Account, Charge},
        books::Holder,
        names::Names,
    },
};

/// Slices kept of all CPUs, some 290 bytes each: the last 150 s of two busy CPUs, and the last 5 s of 64.
const MOST_SLICES: usize = 1 << 15;

/// The longest part of a wait that is divided by slices, in slices. An interrupt that ran for longer without a switch is charged as a
/// whole.
const LONGEST: u64 = 1 << 13;

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Way {
    /// The way of the packets that a softirq moves; `None` if it moves none.
    fn of(source: Source) -> Option<Self> {
        let Source::Softirq(number) = source else {
            return None;
        };
        match *SOFTIRQS.get(number as usize)? {
            "NET_TX" => Some(Self::Out),
            "NET_RX" => Some(Self::In),
            _ => None,
        }
    }

    fn source(self) -> Source {
        let name = match self {
            Self::Out => "NET_TX",
            Self::In => "NET_RX",
        };
        let number = SOFTIRQS.iter().position(|known| *known == name);
        Source::Softirq(number.unwrap_or_default() as u32)
    }
}

/// One CPU's softirqs in one slice.
#[derive(Clone, Debug, Default)]
struct Slice {
    /// Time that target threads waited behind them, by way.
    waited_ns: [u64; 2],
    /// Packets by owner and way; those of nobody are not among them.
    owned: Vec<(Holder, [u64; 2])>,
    /// Packets of nobody that left.
    unowned_out: u64,
    /// Packets that came in, with or without an owner.
    polled: u64,
}

impl Slice {
    /// All packets of a way. Of those that came in without an owner only the number is known. `polled` leaves out packets with an
    /// owner that came in before somebody was queued there. It also leaves out those that are counted where they left and come in
    /// elsewhere.
    fn all(&self, way: Way) -> u64 {
        let owned: u64 = self
            .owned
            .iter()
            .map(|(_, by_way)| by_way[way as usize])
            .sum();
        match way {
            Way::Out => owned + self.unowned_out,
            // Without the number that came in, the number of nobody's packets is not known either.
            Way::In if self.polled == 0 => 0,
            Way::In => owned.max(self.polled),
        }
    }

    /// Splits the time of a way by packets; the parts sum to it. The rest is the softirq's own.
    fn split(&self, way: Way) -> Vec<(Holder, u64)> {
        let (ns, all) = (self.waited_ns[way as usize], self.all(way));
        let mut shares = Vec::new();
        let (mut upto, mut given) = (0, 0);
        for (holder, by_way) in self.owned.iter().filter(|_| all > 0) {
            upto += by_way[way as usize];
            let end = (u128::from(ns) * u128::from(upto) / u128::from(all)) as u64;
            shares.push((*holder, end - given));
            given = end;
        }
        shares.push((Holder::Interrupt(way.source()), ns - given));
        shares.retain(|(_, ns)| *ns > 0);
        shares
    }
}

/// The softirqs of all CPUs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Softirqs {
    /// By slice and CPU, the oldest first.
    slices: BTreeMap<(u64, u32), Slice>,
    /// The slices before this one were charged and forgotten.
    first: u64,
    /// Waits, or parts of them, in slices of which the packets were forgotten.
    pub(super) forgotten: u64,
}

impl Softirqs {
    /// A target thread waited from `begin` to `end` behind a softirq. False if it is one that moves no packets.
    pub(crate) fn waited(&mut self, cpu: u32, source: Source, begin: u64, end: u64) -> bool {
        let Some(way) = Way::of(source) else {
            return false;
        };
        if end.saturating_sub(begin) / SLICE_NS > LONGEST {
            return false;
        }
        let mut at = begin;
        while at < end {
            let next = ((at / SLICE_NS + 1) * SLICE_NS).min(end);
            let index = at / SLICE_NS;
            self.forgotten += u64::from(index < self.first);
            let slice = self.slices.entry((index, cpu)).or_default();
            slice.waited_ns[way as usize] += next - at;
            at = next;
        }
        true
    }

    /// Packets of `owner`, or of nobody.
    pub(crate) fn moved(&mut self, packets: &Packets, owner: Option<Holder>) {
        let index = packets.ns / SLICE_NS;
        if index < self.first {
            // Its owner moved nothing for as long as slices are kept.
            return;
        }
        let slice = self.slices.entry((index, packets.cpu)).or_default();
        slice.polled += u64::from(packets.polled);
        let by_way = [packets.sent, packets.received].map(u64::from);
        let Some(owner) = owner else {
            slice.unowned_out += by_way[Way::Out as usize];
            return;
        };
        match slice.owned.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, known)) => known.iter_mut().zip(by_way).for_each(|(sum, n)| *sum += n),
            None => slice.owned.push((owner, by_way)),
        }
    }

    /// Charges and forgets the oldest quarter of the slices, if there are too many.
    pub(crate) fn fold(&mut self, names: &mut Names, account: &mut Account) {
        if self.slices.len() <= MOST_SLICES {
            return;
        }
        let Some((first, _)) = self.slices.keys().nth(MOST_SLICES / 4).copied() else {
            return;
        };
        let kept = self.slices.split_off(&(first, 0));
        self.charge(names, account);
        self.slices = kept;
        self.first = self.first.max(first);
    }

    /// Everything is charged.
    pub(crate) fn clear(&mut self) {
        self.slices.clear();
    }

    /// Charges the time waited behind softirqs to the owners of the packets that they moved.
    pub(crate) fn charge(&self, names: &mut Names, account: &mut Account) {
        for ((index, cpu), slice) in &self.slices {
            let place = names.place(&format!("cpu{cpu}"));
            let begin = index * SLICE_NS;
            let shares = [Way::Out, Way::In].map(|way| slice.split(way));
            for (holder, ns) in shares.into_iter().flatten() {
                account.charge(Charge {
                    resource: Resource::Cpu,
                    place: Some(place),
                    holder,
                    stack: 0,
                    span: (begin, begin + SLICE_NS),
                    ns,
                    estimated: false,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET_TX: Source = Source::Softirq(2);
    const NET_RX: Source = Source::Softirq(3);
    const FLOOD: Option<Holder> = Some(Holder::Process(1));

    fn packets(sent: u32, received: u32, polled: u32) -> Packets {
        Packets {
            ns: SLICE_NS,
            cpu: 1,
            sent,
            received,
            polled,
            ..Packets::default()
        }
    }

    /// Time behind a softirq on CPU 1, in the slice of the packets.
    fn waited(source: Source, ns: u64) -> Softirqs {
        let mut softirqs = Softirqs::default();
        assert!(softirqs.waited(1, source, SLICE_NS, SLICE_NS + ns));
        softirqs
    }

    fn split(softirqs: &Softirqs, way: Way) -> Vec<(Holder, u64)> {
        let slices = softirqs.slices.values();
        slices.flat_map(|slice| slice.split(way)).collect()
    }

    #[test]
    fn time_goes_by_packets_and_what_nobody_owns_stays_with_the_softirq() {
        let mut softirqs = waited(NET_RX, 1000);
        softirqs.moved(&packets(0, 60, 0), FLOOD);
        softirqs.moved(&packets(0, 10, 0), Some(Holder::Own));
        softirqs.moved(&packets(0, 0, 100), None);
        let expected = [
            (Holder::Process(1), 600),
            (Holder::Own, 100),
            (Holder::Interrupt(NET_RX), 300),
        ];
        assert_eq!(split(&softirqs, Way::In), expected);
    }

    #[test]
    fn more_packets_of_owners_than_came_in_share_the_time_and_leave_none() {
        let mut softirqs = waited(NET_RX, 900);
        softirqs.moved(&packets(0, 20, 0), FLOOD);
        softirqs.moved(&packets(0, 10, 0), Some(Holder::Own));
        softirqs.moved(&packets(0, 0, 5), None);
        let expected = [(Holder::Process(1), 600), (Holder::Own, 300)];
        assert_eq!(split(&softirqs, Way::In), expected);
    }

    #[test]
    fn where_it_is_not_known_how_many_came_in_nobody_is_charged() {
        let mut softirqs = waited(NET_RX, 900);
        softirqs.moved(&packets(0, 20, 0), FLOOD);
        let expected = [(Holder::Interrupt(NET_RX), 900)];
        assert_eq!(split(&softirqs, Way::In), expected);
    }

    #[test]
    fn sending_goes_by_what_was_sent() {
        let mut softirqs = waited(NET_TX, 400);
        softirqs.moved(&packets(3, 90, 0), FLOOD);
        softirqs.moved(&packets(1, 0, 90), None);
        let expected = [(Holder::Process(1), 300), (Holder::Interrupt(NET_TX), 100)];
        assert_eq!(split(&softirqs, Way::Out), expected);
    }

    #[test]
    fn packets_on_another_cpu_or_in_another_slice_are_no_matter() {
        let mut softirqs = waited(NET_RX, 2 * SLICE_NS);
        let later = Packets {
            ns: 2 * SLICE_NS,
            ..packets(0, 1, 1)
        };
        softirqs.moved(&later, FLOOD);
        softirqs.moved(
            &Packets {
                cpu: 0,
                ..packets(0, 1, 1)
            },
            FLOOD,
        );
        let expected = [
            (Holder::Interrupt(NET_RX), SLICE_NS),
            (Holder::Process(1), SLICE_NS),
        ];
        assert_eq!(split(&softirqs, Way::In), expected);
    }

    #[test]
    fn a_day_of_slices_is_charged_on_the_way_and_nothing_is_lost() {
        let (mut names, mut account) = (Names::default(), Account::default());
        let mut softirqs = Softirqs::default();
        let all = 4 * MOST_SLICES as u64;
        for index in 0..all {
            let begin = index * SLICE_NS;
            assert!(softirqs.waited(0, NET_RX, begin, begin + 1000));
            for owned in [packets(0, 3, 0), packets(0, 0, 4)] {
                let owner = FLOOD.filter(|_| owned.received > 0);
                let moved = Packets {
                    ns: begin,
                    cpu: 0,
                    ..owned
                };
                softirqs.moved(&moved, owner);
            }
            softirqs.fold(&mut names, &mut account);
            assert!(softirqs.slices.len() <= MOST_SLICES);
        }
        // A wait that reaches back too far stands behind the softirq, whoever made it run.
        assert!(softirqs.waited(0, NET_RX, 0, 10));
        assert_eq!(softirqs.forgotten, 1);
        softirqs.charge(&mut names, &mut account);
        let (bins, _) = account.ledger.close(all * SLICE_NS);
        let sum = |of: Holder| {
            let charges = bins.iter().flat_map(|bin| &bin.charges);
            let charges = charges.filter(|charge| charge.holder == of);
            charges.map(|charge| charge.ns).sum::<u64>()
        };
        assert_eq!(sum(Holder::Process(1)), 750 * all);
        assert_eq!(sum(Holder::Interrupt(NET_RX)), 250 * all + 10);
    }

    #[test]
    fn other_softirqs_and_interrupts_move_no_packets() {
        for source in [Source::Irq, Source::Softirq(1), Source::Softirq(99)] {
            assert!(!Softirqs::default().waited(0, source, 0, 1));
        }
    }
}
