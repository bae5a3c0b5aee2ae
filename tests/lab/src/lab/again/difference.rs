//! The first difference between two reports: its JSON path, with both values.

use serde_json::Value;

/// Paths of the report that two builds may fill differently, such as `tracer.version`. None does today.
const MAY_DIFFER: [&str; 0] = [];

/// The first place where two reports differ, in words. `None` if they are equal byte by byte, except for [`MAY_DIFFER`].
pub(super) fn difference(this: &[u8], than: &[u8]) -> Option<String> {
    differing(this, than, &MAY_DIFFER)
}

fn differing(this: &[u8], than: &[u8], may_differ: &[&str]) -> Option<String> {
    if this == than {
        return None;
    }
    let parsed = |bytes| serde_json::from_slice::<Value>(bytes);
    let (Ok(a), Ok(b)) = (parsed(this), parsed(than)) else {
        return Some(format!("not both are JSON, {}", first_byte(this, than)));
    };
    let mut paths = Vec::new();
    walk("", Some(&a), Some(&b), &mut paths);
    let allowed = |path: &str| may_differ.contains(&path);
    match paths.iter().find(|(path, ..)| !allowed(path)) {
        Some((path, a, b)) => Some(format!("{path} is {}, not {}", shown(*a), shown(*b))),
        // The bytes of an allowed field may be all that differs. Everything around it then has the same values in the same order.
        None if !paths.is_empty() => None,
        None => Some(format!(
            "the same values, written differently, {}",
            first_byte(this, than)
        )),
    }
}

/// A path, and the values of both reports there.
type Difference<'a> = (String, Option<&'a Value>, Option<&'a Value>);

/// Collects the paths of all leaves that differ.
fn walk<'a>(
    path: &str,
    a: Option<&'a Value>,
    b: Option<&'a Value>,
    found: &mut Vec<Difference<'a>>,
) {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let only_there = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(only_there) {
                let dot = if path.is_empty() { "" } else { "." };
                walk(&format!("{path}{dot}{key}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                walk(&format!("{path}[{at}]"), a.get(at), b.get(at), found);
            }
        }
        _ if a != b => found.push((path.to_owned(), a, b)),
        _ => {}
    }
}

/// A value, or that there is none.
fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

/// Where the bytes begin to differ.
fn first_byte(a: &[u8], b: &[u8]) -> String {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    format!("from byte {equal} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(a: &str, b: &str) -> Option<String> {
        difference(a.as_bytes(), b.as_bytes())
    }

    #[test]
    fn equal_reports_have_no_difference() {
        assert_eq!(found(r#"{"a": 1}"#, r#"{"a": 1}"#), None);
    }

    #[test]
    fn the_first_path_that_differs_is_named_with_both_values() {
        let (a, b) = (
            r#"{"a": 1, "blame": [{"ns": 1}, {"ns": 2}], "c": 5}"#,
            r#"{"a": 1, "blame": [{"ns": 1}, {"ns": 3}], "c": 6}"#,
        );
        assert_eq!(found(a, b).unwrap(), "blame[1].ns is 2, not 3");
    }

    #[test]
    fn what_only_one_report_has_is_absent_in_the_other() {
        assert_eq!(
            found(r#"{"a": [1]}"#, r#"{"a": []}"#).unwrap(),
            "a[0] is 1, not absent"
        );
        assert_eq!(
            found("{}", r#"{"b": null}"#).unwrap(),
            "b is absent, not null"
        );
    }

    #[test]
    fn the_same_values_in_other_bytes_differ() {
        assert_eq!(
            found(r#"{"a": 1}"#, r#"{"a":1}"#).unwrap(),
            "the same values, written differently, from byte 5 on"
        );
    }

    #[test]
    fn what_is_no_json_differs() {
        assert!(found("{}", "{").unwrap().starts_with("not both are JSON"));
    }

    #[test]
    fn a_field_that_may_differ_is_passed_over_and_no_other() {
        let differing = |a: &str, b: &str| differing(a.as_bytes(), b.as_bytes(), &["t.version"]);
        let one = r#"{"t": {"version": "1", "x": 1}}"#;
        assert_eq!(differing(one, r#"{"t": {"version": "2", "x": 1}}"#), None);
        assert_eq!(
            differing(one, r#"{"t": {"version": "2", "x": 2}}"#).unwrap(),
            "t.x is 1, not 2"
        );
    }
}
