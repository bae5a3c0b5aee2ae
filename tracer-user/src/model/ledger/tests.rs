//! The ledger by slices: sums stay, whatever is folded.

use super::*;

#[test]
fn a_wait_over_three_slices_keeps_its_length() {
    let mut ledger = Ledger::new(1000);
    ledger.threads(
        Class::Disk,
        1000 + BIN_NS / 2,
        1000 + 5 * BIN_NS / 2,
        (2 * BIN_NS) as i64,
    );
    let (bins, _) = ledger.close(1000 + 3 * BIN_NS);
    let disk: Vec<u64> = bins
        .iter()
        .map(|bin| bin.threads[Class::Disk.index()])
        .collect();
    assert_eq!(disk, [BIN_NS / 2, BIN_NS, BIN_NS / 2]);
}

#[test]
fn what_no_holder_explains_is_charged_to_nobody() {
    let mut ledger = Ledger::new(0);
    ledger.threads(Class::Cpu, 0, 100, 100);
    ledger.charge((Resource::Cpu, None, Holder::Own), 0, 100, 40, false);
    let (bins, _) = ledger.close(100);
    let nobody = bins[0]
        .charges
        .iter()
        .find(|charge| charge.holder == Holder::Nobody)
        .unwrap();
    assert_eq!(nobody.ns, 60);
}

#[test]
fn what_was_resolved_elsewhere_follows_the_charges_of_its_resource() {
    let charge = |resource, holder, ns| Charge {
        resource,
        place: None,
        holder,
        ns,
        estimated_ns: 7,
    };
    let mut charges = [
        charge(Resource::Disk, Holder::Own, 60),
        charge(Resource::Disk, Holder::Nobody, 40),
        charge(Resource::Cpu, Holder::Own, 100),
    ];
    follow(&mut charges, Resource::Disk, 50);
    let grown: Vec<_> = charges.iter().map(|c| (c.ns, c.estimated_ns)).collect();
    assert_eq!(grown, [(90, 37), (60, 27), (100, 7)]);
}

#[test]
fn slices_grow_so_that_memory_stays_bounded() {
    let mut ledger = Ledger::new(0);
    for i in 0..10_000 {
        ledger.threads(Class::OnCpu, i * BIN_NS, (i + 1) * BIN_NS, 7);
    }
    let (bins, bin_ns) = ledger.close(10_000 * BIN_NS);
    assert!(bins.len() <= MOST_BINS);
    assert_eq!(bin_ns, 4 * BIN_NS);
    assert_eq!(bins.iter().map(|bin| bin.threads[0]).sum::<u64>(), 70_000);
}

#[test]
fn the_window_of_idle_months_has_as_few_slices_as_a_busy_one() {
    let mut ledger = Ledger::new(0);
    ledger.threads(Class::OnCpu, 0, BIN_NS, 7);
    let (bins, bin_ns) = ledger.close(1 << 52);
    assert!(bins.len() <= MOST_BINS && bin_ns > BIN_NS);
    assert_eq!(bins[0].threads[0], 7);
}

#[test]
fn slices_grow_where_many_hold_a_resource_and_each_sum_stays() {
    let mut ledger = Ledger::new(0);
    let holders = MOST_CHARGES / 1024;
    let mut all = 0;
    for at in 0..4000 {
        for holder in 0..holders {
            let key = (Resource::Cpu, None, Holder::Process(holder));
            ledger.charge(key, at * BIN_NS, (at + 1) * BIN_NS, 3, false);
            all += 3;
        }
        assert!(ledger.charges <= MOST_CHARGES);
    }
    assert_eq!(ledger.bin_ns, 4 * BIN_NS);
    let (bins, _) = ledger.close(4000 * BIN_NS);
    let charges = bins.iter().flat_map(|bin| &bin.charges);
    assert_eq!(charges.map(|charge| charge.ns).sum::<u64>(), all);
}

#[test]
fn what_clients_asked_for_keeps_its_length_when_slices_grow() {
    let mut ledger = Ledger::new(0);
    let key = (Resource::Disk, None, Holder::Own);
    for i in 0..10_000 {
        let (begin, end) = (i * BIN_NS, (i + 1) * BIN_NS);
        ledger.served_requests(Asker::Elsewhere, Class::Disk, begin, end, 7);
        ledger.served_charge(Asker::Elsewhere, key, (begin, end), 5, false);
        ledger.behind_own(Class::Disk, begin, end, 3);
    }
    let (bins, _) = ledger.close(10_000 * BIN_NS);
    let served = || bins.iter().flat_map(|bin| &bin.served);
    let asked: u64 = served()
        .map(|part| part.requests[Class::Disk.index()])
        .sum();
    let charged: u64 = served().flat_map(|part| &part.charges).map(|c| c.ns).sum();
    let behind_own: u64 = bins
        .iter()
        .map(|bin| bin.behind_own[Class::Disk.index()])
        .sum();
    assert_eq!((asked, charged, behind_own), (70_000, 50_000, 30_000));
}
