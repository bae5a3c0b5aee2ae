//! The sums of a report: lines that belong together add up, whatever was measured.
//!
//! Each check compares a report with itself and needs nothing from outside. A report of an older build lacks the lines that would have
//! to add up, and has no faults.

use serde_json::Value;
use tracer::loss::{Cost, Loss};

/// Where a request cuts a wait, its part of each class is rounded to whole nanoseconds. The calls of a request may be microseconds apart.
const ROUNDED: f64 = 1e-4;
/// The same in a report with hardly any requests, ns.
const ROUNDED_NS: u64 = 1000;

/// More than this part of a time without a class is what a report calls lost.
const UNACCOUNTED: f64 = 0.01;
/// No record tells what a thread did before it is first seen on a CPU. For so long in all that is no fault, ns.
const UNSEEN_NS: u64 = 10_000_000;

/// Quantiles are known as the bucket that they are in; one of its bounds is so many times the other (8 buckets for an octave).
const BUCKET: f64 = 1.091;
/// Values up to this are in one bucket, ns.
const ZERO_NS: f64 = 1000.0;

/// The lines that do not add up, in words.
pub(crate) fn faults(report: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let (requests, threads) = (&report["requests"], &report["threads"]);
    if requests["sum_ns"].is_u64() {
        faults.extend(requests_time(requests));
        faults.extend(mean(requests));
        faults.extend(histogram(requests));
    }
    faults.extend(threads_time(threads));
    if !has_losses(&report["losses"]) {
        faults.extend(unseen("requests", requests));
        faults.extend(unseen("threads", threads));
    }
    faults
}

/// The number of requests times their mean is their time by class, and what they waited before the trace.
fn requests_time(requests: &Value) -> Option<String> {
    let became = ["sum_ns", "clipped_ns", "open_ns", "uncounted_ns"];
    let whole: u64 = became.iter().map(|name| figure(&requests[*name])).sum();
    let whole = whole.saturating_sub(figure(&requests["before_ns"]));
    let known = budget(requests) + figure(&requests["unaccounted_ns"]);
    differ(whole, known).then(|| {
        format!(
            "requests took {} ms, and by class {} ms",
            ms(whole),
            ms(known)
        )
    })
}

/// The mean of the requests that ended fits to their quantiles.
fn mean(requests: &Value) -> Option<String> {
    let count = ended(requests);
    let all = ["p50_ns", "p99_ns", "max_ns", "sum_ns"];
    let [p50, p99, max, sum] = all.map(|name| figure(&requests[name]));
    let ordered = p50 <= p99 && p99 <= max && max <= sum && sum <= count * max;
    let mean = sum as f64 / count.max(1) as f64;
    // Half of them took as long as the bucket of the median at most, and nearly all others as that of the 99th percentile.
    let [half, most, top] = [p50, p99, max].map(|ns| ns as f64 * BUCKET);
    let longest = count.div_ceil(100) as f64 / count.max(1) as f64;
    let bound = half + ZERO_NS + most / 2.0 + longest * top;
    let fits = ordered && mean <= bound && 2.0 * BUCKET * mean >= p50 as f64;
    (!fits).then(|| {
        format!(
            "{count} requests with p50 {} p99 {} longest {} ms took {} ms in all",
            ms(p50),
            ms(p99),
            ms(max),
            ms(sum)
        )
    })
}

/// The histogram is of the requests that ended.
fn histogram(requests: &Value) -> Option<String> {
    let (histogram, ended) = (&requests["histogram"], ended(requests));
    let buckets = histogram["counts"].as_array().into_iter().flatten();
    let counted = buckets.map(figure).sum::<u64>() + figure(&histogram["zero_count"]);
    let is_same = counted == ended
        && figure(&histogram["count"]) == ended
        && figure(&histogram["sum_ns"]) == figure(&requests["sum_ns"]);
    (!is_same).then(|| format!("the histogram has {counted} of {ended} requests, or another sum"))
}

/// How many requests ended in the window of which the begin is known.
fn ended(requests: &Value) -> u64 {
    figure(&requests["count"]).saturating_sub(figure(&requests["clipped"]))
}

/// The threads' time by class is their life.
fn threads_time(threads: &Value) -> Option<String> {
    let whole = figure(&threads["wall_ns"]);
    let known = budget(threads) + figure(&threads["unaccounted_ns"]);
    differ(whole, known).then(|| {
        format!(
            "threads lived {} ms, and by class {} ms",
            ms(whole),
            ms(known)
        )
    })
}

/// Time without a class, where no record was lost.
fn unseen(name: &str, ledger: &Value) -> Option<String> {
    let unseen = figure(&ledger["unaccounted_ns"]);
    let whole = budget(ledger) + unseen;
    let part = (UNACCOUNTED * whole as f64) as u64;
    (unseen > part.max(UNSEEN_NS)).then(|| format!("{} ms of the {name} have no class", ms(unseen)))
}

/// Does a loss make figures too low?
fn has_losses(losses: &Value) -> bool {
    let lost = |kind: &str, cost: fn(&str) -> Cost| {
        let kinds = losses[kind].as_object().into_iter().flatten();
        let mut felt = kinds.filter(|(name, _)| cost(name) == Cost::Figures);
        felt.any(|(_, number)| figure(number) > 0)
    };
    lost("ring", |name| Loss::of_record(name).cost())
        || lost("maps", |name| Loss::of_map(name).cost())
}

/// All classes of a ledger, ns.
fn budget(ledger: &Value) -> u64 {
    let classes = ledger["budget_ns"].as_object().into_iter().flatten();
    classes.map(|(_, ns)| figure(ns)).sum()
}

fn differ(a: u64, b: u64) -> bool {
    let rounded = (ROUNDED * a.max(b) as f64) as u64;
    a.abs_diff(b) > rounded + ROUNDED_NS
}

/// A figure; one that is absent or null is 0.
fn figure(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn ms(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests of 10 and 30 ms, one from before the window, one that is open, a push.
    fn report() -> Value {
        serde_json::json!({
            "requests": {
                "count": 3, "clipped": 1, "open": 1, "p50_ns": 10_000_000, "p99_ns": 30_000_000, "max_ns": 30_000_000,
                "sum_ns": 40_000_000, "clipped_ns": 5_000_000, "open_ns": 7_000_000, "uncounted_ns": 1_000_000,
                "unaccounted_ns": 3_000_000, "budget_ns": {"on_cpu": 20_000_000, "disk": 30_000_000},
                "histogram": {"counts": [1, 0, 1], "zero_count": 0, "count": 2, "sum_ns": 40_000_000},
            },
            "threads": {"wall_ns": 90_000_000, "unaccounted_ns": 0, "budget_ns": {"on_cpu": 20_000_000, "idle": 70_000_000}},
            "losses": {"ring": {}, "maps": {}},
        })
    }

    /// The faults after one figure has changed.
    fn with(path: &str, value: impl Into<Value>) -> Vec<String> {
        let mut report = report();
        *report.pointer_mut(path).unwrap() = value.into();
        faults(&report)
    }

    #[test]
    fn lines_that_add_up_have_no_fault_nor_do_those_of_an_older_build() {
        assert_eq!(faults(&report()), Vec::<String>::new());
        assert_eq!(with("/requests", Value::Null), Vec::<String>::new());
        let older = serde_json::json!({"count": 9, "p50_ns": 7, "budget_ns": {"disk": 1}});
        assert_eq!(with("/requests", older), Vec::<String>::new());
    }

    #[test]
    fn time_of_requests_that_is_in_no_class_or_in_two_is_a_fault() {
        let found = with("/requests/budget_ns/disk", 31_000_000);
        let expected = "requests took 53.000 ms, and by class 54.000 ms";
        assert_eq!(found, [expected]);
        assert_eq!(with("/requests/open_ns", 6_000_000).len(), 1);
        let mut before = report();
        before["requests"]["before_ns"] = 2_000_000.into();
        assert_eq!(faults(&before).len(), 1);
        before["requests"]["clipped_ns"] = 7_000_000.into();
        assert_eq!(faults(&before), Vec::<String>::new());
        assert_eq!(with("/threads/wall_ns", 91_000_000).len(), 1);
    }

    #[test]
    fn a_sum_that_is_not_of_the_same_requests_as_the_quantiles_is_a_fault() {
        assert_eq!(with("/requests/p50_ns", 50_000_000).len(), 1);
        assert_eq!(with("/requests/histogram/count", 3).len(), 1);
    }

    #[test]
    fn much_time_without_a_class_is_a_fault_unless_records_were_lost() {
        let mut report = report();
        report["threads"]["unaccounted_ns"] = 20_000_000.into();
        report["threads"]["wall_ns"] = 110_000_000.into();
        assert_eq!(faults(&report), ["20.000 ms of the threads have no class"]);
        report["losses"]["ring"]["histograms"] = 9.into();
        assert_eq!(faults(&report).len(), 1);
        report["losses"]["ring"]["waits"] = 1.into();
        assert_eq!(faults(&report), Vec::<String>::new());
    }
}
