//! `tracer doctor`: the probes that this kernel supports, and the capabilities that this process has.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Result;
use serde_json::json;
use tracer_common::shed::Group;

use super::output;
use crate::{
    cli::{DoctorArgs, DoctorFormat},
    kernel::{btf::Btf, features::Features, load, symbols},
    machine::{
        capability,
        proc::{Queueing, queueing},
    },
    probes::{self, Need},
    units::{Output, escape_terminal, outside},
};

/// The finding on one probe or one capability: is it there?
struct Finding {
    name: &'static str,
    ok: bool,
    required: bool,
    cost: String,
    /// When it is shed; empty if it never is.
    shed: &'static str,
}

impl Finding {
    /// Its cost if it is missing, else when it is shed.
    fn note(&self) -> &str {
        if self.ok { self.shed } else { &self.cost }
    }
}

/// The finding on one interface: can its queue be read?
struct Read {
    queueing: Queueing,
    cost: String,
}

impl Read {
    fn of(queueing: Queueing, features: &Features) -> Self {
        let cost = if queueing.by_queue && !features.reads_queues() {
            "this kernel does not show the queue of a packet: waits there are unknown"
        } else {
            ""
        };
        let cost = cost.to_owned();
        Self { queueing, cost }
    }

    /// What queues there, for people.
    fn says(&self) -> String {
        let kinds = self.queueing.kinds.join(", ");
        let of_each_cpu = self.queueing.kinds.iter().any(|kind| kind == "pfifo_fast");
        let note = match (self.cost.is_empty(), of_each_cpu) {
            (false, _) => format!(": {}", self.cost),
            (true, true) => {
                ": seen by the lateness of TCP's packets; of datagrams it is unknown".to_owned()
            }
            (true, false) => String::new(),
        };
        let each = if self.queueing.by_queue {
            "each queue "
        } else {
            ""
        };
        format!("queues by {each}{kinds}{note}")
    }
}

/// No target.
const NOBODY: load::Scope = load::Scope::Targets {
    follow_children: false,
};

/// Attaches every probe, without a target, and shows which are missing.
///
/// # Errors
/// If the kernel has no BTF or refuses the object.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let loader = load::Loader::begin();
    let btf = Btf::of_kernel().map_err(|error| load::Unsupported(format!("{error:#}")))?;
    let features = Features::detect(&btf);
    let attached = load::need_host_pids()
        .and_then(|()| load::need_permission())
        .and_then(|()| load::prepare(loader, &btf, &features, NOBODY))
        .map(|prepared| load::load_programs(prepared, &features, |_| ()).0)
        .and_then(|verified| load::attach(verified, &features, &load::Traced::default()));
    let refused = match &attached {
        Ok(attached) => attached.missing.clone(),
        Err(_) => features.costs(),
    };
    let shown = probes::all().filter(|probe| probe.instead_of.is_none());
    let findings = Findings {
        capabilities: capability::USES.iter().map(of_capability).collect(),
        probes: shown
            .map(|probe| finding(probe, &features, &refused))
            .chain([names()])
            .collect(),
    };
    let works = attached.is_ok();
    let queues = queueing().into_iter();
    let queues: Vec<Read> = queues
        .map(|queueing| Read::of(queueing, &features))
        .collect();
    let text = match args.output {
        DoctorFormat::Text => text(&findings, &queues, attached.as_ref().err()),
        DoctorFormat::Json => machine_readable(&findings, &queues, works)?,
    };
    output::stdout(text.as_bytes())?;
    Ok(match (works, sees_all(&findings, &queues)) {
        (false, _) => ExitCode::from(super::code::UNSUPPORTED),
        (true, false) => ExitCode::from(5),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// What was looked at besides the interfaces.
struct Findings {
    capabilities: Vec<Finding>,
    probes: Vec<Finding>,
}

impl Findings {
    fn all(&self) -> impl Iterator<Item = &Finding> {
        self.capabilities.iter().chain(&self.probes)
    }
}

fn of_capability(wanted: &capability::Use) -> Finding {
    let ok = wanted.is_there();
    Finding {
        name: wanted.name,
        ok,
        required: wanted.required,
        cost: (if ok { "" } else { wanted.cost }).to_owned(),
        shed: "",
    }
}

fn finding(
    probe: &probes::Probe,
    features: &Features,
    refused: &[crate::event::MissingProbe],
) -> Finding {
    let absent = features
        .missing
        .iter()
        .find(|(missing, _)| missing.name == probe.name)
        .map(|(_, reason)| reason.clone());
    let named = refused.iter().find(|missing| missing.name() == probe.name);
    let cost = match (probe.need, named, absent) {
        (Need::Required, _, Some(reason)) => reason,
        (_, Some(missing), _) => missing.cost.clone(),
        _ => String::new(),
    };
    Finding {
        name: probe.name,
        ok: cost.is_empty(),
        required: probe.need == Need::Required,
        cost,
        shed: probe.shed_with.map_or("", shed_while),
    }
}

/// When the probes of a group are shed.
fn shed_while(group: Group) -> &'static str {
    match group {
        Group::Interrupts => {
            "shed for nine tenths of the time while the target hardly queues for a CPU"
        }
    }
}

/// Do the kernel's functions have names?
fn names() -> Finding {
    let costs = symbols::missing().into_iter();
    let costs: Vec<String> = costs.map(|missing| missing.cost).collect();
    Finding {
        name: "kallsyms",
        ok: costs.is_empty(),
        required: false,
        cost: costs.join("; "),
        shed: "",
    }
}

fn sees_all(findings: &Findings, queues: &[Read]) -> bool {
    findings.all().all(|finding| finding.ok) && queues.iter().all(|read| read.cost.is_empty())
}

fn text(findings: &Findings, queues: &[Read], error: Option<&anyhow::Error>) -> String {
    let mut text = String::new();
    for finding in findings.all() {
        let state = match (finding.ok, finding.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        let _ = writeln!(text, "{state:8} {:22} {}", finding.name, finding.note());
    }
    for read in queues {
        let state = if read.cost.is_empty() {
            "ok"
        } else {
            "missing"
        };
        let _ = writeln!(
            text,
            "{state:8} {:22} {}",
            escape_terminal(&read.queueing.interface),
            escape_terminal(&read.says())
        );
    }
    let _ = match error {
        Some(error) => {
            let error = escape_terminal(&format!("{error:#}"));
            writeln!(text, "\ntracer cannot work here: {error}")
        }
        None if sees_all(findings, queues) => {
            writeln!(text, "\neverything can be seen on this machine")
        }
        None => writeln!(text, "\ntracer works here, with the losses named above"),
    };
    text
}

fn machine_readable(findings: &Findings, queues: &[Read], works: bool) -> Result<String> {
    let listed = |kind: &str, findings: &[Finding]| -> Vec<serde_json::Value> {
        let each = |finding: &Finding| {
            json!({kind: finding.name, "ok": finding.ok, "required": finding.required,
                   "cost": if finding.ok { None } else { Some(&finding.cost) },
                   "shed": (!finding.shed.is_empty()).then_some(finding.shed)})
        };
        findings.iter().map(each).collect()
    };
    let probes = listed("probe", &findings.probes);
    let capabilities = listed("capability", &findings.capabilities);
    let interfaces: Vec<_> = queues
        .iter()
        .map(|read| {
            let ok = read.cost.is_empty();
            json!({"interface": read.queueing.interface, "queues": read.queueing.kinds, "by_queue": read.queueing.by_queue,
                   "ok": ok, "cost": if ok { None } else { Some(&read.cost) }})
        })
        .collect();
    let mut text = serde_json::to_string_pretty(
        &json!({"schema": "tracer.doctor/1", "works": works, "probes": probes,
        "interfaces": interfaces, "capabilities": capabilities}),
    )?;
    text.push('\n');
    Ok(outside(&text, Output::Json))
}
