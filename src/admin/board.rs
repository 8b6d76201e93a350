//! A node's board in words. What a machine cannot report is "n/a", never "fine".

use crate::cluster::api::{BoardNote, Severity};
use crate::cluster::pi::Pi;

/// The firmware begins to throttle a Pi at 80 degrees Celsius, and throttles it hard at 85.
const WARM_C: f32 = 80.0;
const HOT_C: f32 = 85.0;

/// All notes, in the order in which they are shown.
pub(super) fn notes(pi: Option<&Pi>) -> Vec<BoardNote> {
    let reports_something = |pi: &&Pi| {
        pi.temperature_c.is_some()
            || [
                pi.under_voltage,
                pi.under_voltage_since_boot,
                pi.throttled,
                pi.throttled_since_boot,
            ]
            .iter()
            .any(Option::is_some)
    };
    let Some(pi) = pi.filter(reports_something) else { return vec![note("n/a", Severity::Plain)] };
    let throttled = match (pi.throttled, pi.throttled_since_boot) {
        (Some(true), _) => Some(note("throttled now", Severity::Bad)),
        (_, Some(true)) => Some(note("was throttled", Severity::Warn)),
        _ => None,
    };
    [Some(temperature(pi.temperature_c)), Some(power(pi)), throttled]
        .into_iter()
        .flatten()
        .collect()
}

fn temperature(degrees: Option<f32>) -> BoardNote {
    match degrees {
        None => note("temperature n/a", Severity::Plain),
        Some(c) => {
            let level = match c {
                HOT_C.. => Severity::Bad,
                WARM_C.. => Severity::Warn,
                _ => Severity::Plain,
            };
            note(&format!("{c:.0} °C"), level)
        }
    }
}

fn power(pi: &Pi) -> BoardNote {
    match (pi.under_voltage, pi.under_voltage_since_boot) {
        (Some(true), _) => note("under-voltage now", Severity::Bad),
        (_, Some(true)) => note("had under-voltage", Severity::Warn),
        (Some(false), Some(false)) => note("power good", Severity::Plain),
        (Some(false), None) => note("power good now", Severity::Plain),
        (None, _) => note("power n/a", Severity::Plain),
    }
}

fn note(text: &str, level: Severity) -> BoardNote {
    BoardNote { text: text.to_owned(), level }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pi: &Pi) -> Vec<String> {
        notes(Some(pi)).into_iter().map(|note| note.text).collect()
    }

    #[test]
    fn an_unknown_state_is_never_called_good() {
        assert_eq!(notes(None), [note("n/a", Severity::Plain)]);
        assert_eq!(texts(&Pi { model: Some("x".into()), ..Pi::default() }), ["n/a"]);
        let warm = Pi { temperature_c: Some(48.3), ..Pi::default() };
        assert_eq!(texts(&warm), ["48 °C", "power n/a"]);
        let now = Pi { under_voltage: Some(false), ..warm };
        assert_eq!(texts(&now), ["48 °C", "power good now"]);
    }

    #[test]
    fn a_present_trouble_hides_the_same_one_of_the_past() {
        let bad = Pi {
            under_voltage: Some(true),
            under_voltage_since_boot: Some(true),
            throttled: Some(false),
            throttled_since_boot: Some(true),
            ..Pi::default()
        };
        let expected = ["temperature n/a", "under-voltage now", "was throttled"];
        assert_eq!(texts(&bad), expected);
        assert_eq!(notes(Some(&bad))[1].level, Severity::Bad);
    }
}
