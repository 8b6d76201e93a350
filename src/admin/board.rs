//! What is said of a node's board. What a machine cannot tell is "n/a", never "fine".

use serde::Serialize;

use crate::cluster::pi::Pi;

/// Firmware begins to hold a Pi back at 80 degrees, and does so in earnest at 85.
const WARM_C: f32 = 80.0;
const HOT_C: f32 = 85.0;

/// A few words, and how bad that is.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Plain,
    Warn,
    Bad,
}

impl Level {
    /// The class on the page.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// All that is to be said, in the order in which it is shown.
pub(super) fn words(pi: Option<&Pi>) -> Vec<Word> {
    let tells = |pi: &&Pi| {
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
    let Some(pi) = pi.filter(tells) else { return vec![word("n/a", Level::Plain)] };
    let throttled = match (pi.throttled, pi.throttled_since_boot) {
        (Some(true), _) => Some(word("throttled now", Level::Bad)),
        (_, Some(true)) => Some(word("was throttled", Level::Warn)),
        _ => None,
    };
    [Some(temperature(pi.temperature_c)), Some(power(pi)), throttled]
        .into_iter()
        .flatten()
        .collect()
}

fn temperature(degrees: Option<f32>) -> Word {
    match degrees {
        None => word("temperature n/a", Level::Plain),
        Some(c) => {
            let level = match c {
                HOT_C.. => Level::Bad,
                WARM_C.. => Level::Warn,
                _ => Level::Plain,
            };
            word(&format!("{c:.0} °C"), level)
        }
    }
}

fn power(pi: &Pi) -> Word {
    match (pi.under_voltage, pi.under_voltage_since_boot) {
        (Some(true), _) => word("under-voltage now", Level::Bad),
        (_, Some(true)) => word("had under-voltage", Level::Warn),
        (Some(false), Some(false)) => word("power good", Level::Plain),
        (Some(false), None) => word("power good now", Level::Plain),
        (None, _) => word("power n/a", Level::Plain),
    }
}

fn word(text: &str, level: Level) -> Word {
    Word { text: text.to_owned(), level }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pi: &Pi) -> Vec<String> {
        words(Some(pi)).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn an_unknown_state_is_never_called_good() {
        assert_eq!(words(None), [word("n/a", Level::Plain)]);
        assert_eq!(said(&Pi { model: Some("x".into()), ..Pi::default() }), ["n/a"]);
        let warm = Pi { temperature_c: Some(48.3), ..Pi::default() };
        assert_eq!(said(&warm), ["48 °C", "power n/a"]);
        let now = Pi { under_voltage: Some(false), ..warm };
        assert_eq!(said(&now), ["48 °C", "power good now"]);
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
        assert_eq!(said(&bad), expected);
        assert_eq!(words(Some(&bad))[1].level, Level::Bad);
    }
}
