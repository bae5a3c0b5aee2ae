//! A class of its own for the culprit's packets on the interface: an HTB queue with just this class, which passes all other packets by
//! (tc-htb(8): what no class is chosen for leaves at once, and so
//! before the class: under a link that others fill, the culprit starves). Under a TBF the shaping of the link stays as it is.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{Advice, case::Case, shell::quote};
use crate::standing::Interface;

/// Handle of the queue: one that nobody gives by hand, and the kernel (from 8000: on) neither.
const HANDLE: &str = "7ace:";
const CLASS: &str = "7ace:1";
/// Root qdiscs that shape nothing and sort nothing on demand of an administrator: they may be replaced.
const PLAIN: [&str; 8] = [
    "pfifo_fast",
    "pfifo",
    "bfifo",
    "fq_codel",
    "fq",
    "sfq",
    "mq",
    "codel",
];
/// More filters nobody reads.
const MOST_FILTERS: usize = 8;

pub fn class(case: &Case<'_>) -> Option<Advice> {
    let place = case.place()?;
    let interfaces = &case.books.means.interfaces;
    let interface = interfaces.iter().find(|interface| interface.name == place);
    let filters = filters(case);
    let unknown = Interface {
        name: place.to_owned(),
        ..Interface::default()
    };
    Some(Advice {
        command: command(case, interface.unwrap_or(&unknown), &filters),
        why: "leaves part of the link to others, at once and without a restart",
        effect: check(case, place, interface, &filters),
    })
}

fn command(case: &Case<'_>, interface: &Interface, filters: &[String]) -> String {
    let dev = quote(&interface.name);
    let parent = match interface.qdisc.as_str() {
        "tbf" => format!("parent {:x}:1", interface.major),
        _ => "root".to_owned(),
    };
    let rate = case
        .half_rate()
        .map_or("RATE".to_owned(), |rate| format!("{}kbit", rate * 8 / 1000));
    let mut parts = vec![
        format!("tc qdisc replace dev {dev} {parent} handle {HANDLE} htb"),
        format!(
            "tc class replace dev {dev} parent {HANDLE} classid {CLASS} htb rate {rate} ceil {rate}"
        ),
    ];
    parts.extend(
        filters.iter().map(|filter| {
            format!("tc filter add dev {dev} parent {HANDLE} {filter} flowid {CLASS}")
        }),
    );
    parts.join(" && ")
}

fn check(
    case: &Case<'_>,
    place: &str,
    interface: Option<&Interface>,
    filters: &[String],
) -> Result<String, String> {
    case.gone()?;
    let interface = interface.ok_or_else(|| {
        format!("{place} is in another network namespace than the tracer: enter that first (nsenter(1), tc(8))")
    })?;
    let replaced = match (interface.qdisc.as_str(), interface.inner.as_str()) {
        ("tbf", "" | "pfifo" | "bfifo" | "pfifo_fast" | "fq_codel" | "sfq")
            if interface.major != 0 =>
        {
            "the rate of the link stays; ".to_owned()
        }
        ("tbf", "htb") => {
            return Err(format!(
                "{place} has classes already: give the culprit one of them (`tc -s class show dev {place}`, tc-htb(8))"
            ));
        }
        (plain, _) if PLAIN.contains(&plain) => {
            format!("replaces the queue {plain} of {place} for all its packets; ")
        }
        ("htb" | "hfsc" | "drr" | "prio", _) => {
            return Err(format!(
                "{place} has classes already: give the culprit one of them (`tc -s class show dev {place}`, tc-htb(8))"
            ));
        }
        ("", _) => return Err(format!("what queues on {place} is not known (tc(8))")),
        (kind, _) => {
            return Err(format!(
                "the queue {kind} of {place} shapes the link, and a class in its place would undo that (tc(8))"
            ));
        }
    };
    if filters.is_empty() {
        return Err("no connection of it was open at the end, by which a filter could know its packets (tc-u32(8))".to_owned());
    }
    if filters.len() > MOST_FILTERS {
        return Err(format!(
            "it sends to {} addresses, more than filters can follow (tc-u32(8))",
            filters.len()
        ));
    }
    if case.half_rate().is_none() {
        return Err("what it sends there is too little to halve (tc-htb(8))".to_owned());
    }
    if !case.books.means.has("tc") {
        return Err("tc is not installed (iproute2)".to_owned());
    }
    Ok(format!(
        "{replaced}what goes to the same addresses and ports gets at most half of what it had, and while others fill the link \
         next to nothing, because they go first; undo: tc qdisc del dev {place} {} (tc-htb(8), tc-u32(8))",
        match interface.qdisc.as_str() {
            "tbf" => format!("parent {:x}:1", interface.major),
            _ => "root".to_owned(),
        }
    ))
}

/// A filter for each address and port that the members talk to. Which end's port is the service's is not known: the lower one is.
fn filters(case: &Case<'_>) -> Vec<String> {
    let ends = case.standings().flat_map(|standing| &standing.connections);
    let filter = |(local, remote): &(String, String)| {
        let (local, remote) = (
            local.parse::<SocketAddr>().ok()?,
            remote.parse::<SocketAddr>().ok()?,
        );
        if remote.ip().is_loopback() && case.place() != Some("lo") {
            return None;
        }
        let (port, side) = match local.port() < remote.port() {
            true => (local.port(), "sport"),
            false => (remote.port(), "dport"),
        };
        Some(match remote.ip() {
            IpAddr::V4(ip) => {
                format!("protocol ip u32 match ip dst {ip}/32 match ip {side} {port} 0xffff")
            }
            IpAddr::V6(ip) => {
                format!("protocol ipv6 u32 match ip6 dst {ip}/128 match ip6 {side} {port} 0xffff")
            }
        })
    };
    ends.filter_map(filter)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
