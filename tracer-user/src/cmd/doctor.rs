//! `tracer doctor`: the probes that this kernel supports.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Result;
use serde_json::json;

use super::output;
use crate::{
    cli::{DoctorArgs, DoctorFormat},
    kernel::{btf::Btf, features::Features, load},
    probes::{self, Need},
};

/// The finding on one probe: can it be attached here?
struct Finding {
    probe: &'static str,
    ok: bool,
    required: bool,
    cost: String,
}

/// Attaches every probe, without a target, and shows which are missing.
///
/// # Errors
/// If the kernel has no BTF or refuses the object.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let loader = load::Loader::begin();
    let btf = Btf::of_kernel().map_err(|error| load::Unsupported(format!("{error:#}")))?;
    let features = Features::detect(&btf);
    let attached = load::prepare(loader, &btf, &features, false)
        .and_then(|prepared| load::attach(prepared, &features, &load::Traced::default()));
    let refused = match &attached {
        Ok(attached) => attached.missing.clone(),
        Err(_) => features.costs(),
    };
    let findings: Vec<Finding> = probes::all()
        .filter(|probe| probe.instead_of.is_none())
        .map(|probe| finding(probe, &features, &refused))
        .collect();
    let works = attached.is_ok();
    let text = match args.output {
        DoctorFormat::Text => text(&findings, attached.as_ref().err()),
        DoctorFormat::Json => machine_readable(&findings, works)?,
    };
    output::stdout(&text)?;
    Ok(match (works, findings.iter().all(|finding| finding.ok)) {
        (false, _) => ExitCode::from(super::code::UNSUPPORTED),
        (true, false) => ExitCode::from(5),
        (true, true) => ExitCode::SUCCESS,
    })
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
        probe: probe.name,
        ok: cost.is_empty(),
        required: probe.need == Need::Required,
        cost,
    }
}

fn text(findings: &[Finding], error: Option<&anyhow::Error>) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match (finding.ok, finding.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        let _ = writeln!(text, "{state:8} {:22} {}", finding.probe, finding.cost);
    }
    let _ = match error {
        Some(error) => writeln!(text, "\ntracer cannot work here: {error:#}"),
        None if findings.iter().all(|finding| finding.ok) => {
            writeln!(text, "\neverything can be seen on this machine")
        }
        None => writeln!(text, "\ntracer works here, with the losses named above"),
    };
    text
}

fn machine_readable(findings: &[Finding], works: bool) -> Result<String> {
    let probes: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({"probe": finding.probe, "ok": finding.ok, "required": finding.required,
                   "cost": if finding.ok { None } else { Some(&finding.cost) }})
        })
        .collect();
    let mut text = serde_json::to_string_pretty(
        &json!({"schema": "tracer.doctor/1", "works": works, "probes": probes}),
    )?;
    text.push('\n');
    Ok(text)
}
