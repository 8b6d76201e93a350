//! The state of a node's board, from its sensors and its firmware. A plain value: a node reads it
//! from its machine and puts it into its health answer, where a balancer reads it. The files of the
//! machine are read elsewhere.

pub mod metrics;

use serde::{Deserialize, Serialize};

/// The temperatures that a running board can have, in degrees Celsius. A sensor with another figure
/// is broken.
const CELSIUS: std::ops::RangeInclusive<f32> = -40.0..=130.0;

/// The least speed that is believed, as a part of the full one: a board that answers at all does
/// some work.
const SPEED_MIN: f32 = 0.25;

/// The longest name of a model, in characters.
const MODEL_CHARS_MAX: usize = 63;

/// The state of a board. A value that the machine does not know is `None` and absent in JSON: a
/// missing sensor is reported as unknown, never as fine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pi {
    /// The board, like `Raspberry Pi 4 Model B Rev 1.4`; at most 63 visible characters and spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The hottest sensor of the processor, in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f32>,
    /// The supply is too weak now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_voltage: Option<bool>,
    /// The supply was too weak at some time since the machine started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_voltage_since_boot: Option<bool>,
    /// The firmware holds the processor back now, for heat or for want of power.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
    /// The firmware held the processor back at some time since the machine started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_since_boot: Option<bool>,
    /// The part of its full speed at which the board may run now, 0 to 1: below 1 only while it is
    /// throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f32>,
}

impl Pi {
    /// The same state within bounds, because it may come from any machine: a model that is fit for
    /// logs and pages, and no figure that no board can have.
    pub fn checked(self) -> Self {
        let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '-' };
        let model =
            self.model.map(|model| model.chars().take(MODEL_CHARS_MAX).map(visible).collect());
        Self {
            model: model.filter(|model: &String| !model.trim().is_empty()),
            temperature_c: self.temperature_c.filter(|degrees| CELSIUS.contains(degrees)),
            speed: self
                .speed
                .filter(|speed| (0.0..=1.0).contains(speed))
                .map(|speed| speed.max(SPEED_MIN)),
            ..self
        }
    }

    /// The quarters of its full speed at which it runs, 1 to 4; also 4 if the speed is unknown.
    pub fn quarters(&self) -> u8 {
        let held_back = self.throttled == Some(true);
        // The result of the cast is 0 to 4: NaN becomes 0.
        let quarters = |speed: f32| (speed * 4.0).round().clamp(1.0, 4.0) as u8;
        self.speed.filter(|_| held_back).map_or(4, quarters)
    }

    /// The present trouble of the board and its remedy, as a sentence without its full stop; `None`
    /// if no trouble is known.
    pub fn trouble(&self) -> Option<String> {
        let held_back = self.throttled == Some(true);
        if self.under_voltage == Some(true) {
            let so = if held_back { ", and throttled for it" } else { "" };
            return Some(format!("under-voltage{so}; a better power supply or cable helps"));
        }
        held_back.then(|| match self.temperature_c {
            Some(degrees) => format!("throttled at {degrees:.0} °C; cooling helps"),
            None => "throttled".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_no_board_can_have_is_unknown() {
        let said = r#"{"model":"Pi\u0007 <b>","temperature_c":1e30,"speed":0.01,"throttled":true}"#;
        let pi = serde_json::from_str::<Pi>(said).unwrap().checked();
        assert_eq!((pi.model.as_deref(), pi.temperature_c), (Some("Pi- <b>"), None));
        assert_eq!((pi.speed, pi.quarters()), (Some(0.25), 1));
        for speed in [f32::NAN, f32::INFINITY, -0.5, 1.5] {
            assert_eq!(Pi { speed: Some(speed), ..Pi::default() }.checked().speed, None);
        }
        let long = Pi { model: Some("x".repeat(99)), ..Pi::default() }.checked();
        assert_eq!(long.model.unwrap().len(), MODEL_CHARS_MAX);
        assert_eq!(Pi { model: Some(" ".to_owned()), ..Pi::default() }.checked().model, None);
    }

    #[test]
    fn only_a_throttled_board_is_slower() {
        let pi = |throttled, speed| Pi { throttled, speed, ..Pi::default() };
        assert_eq!(pi(Some(false), Some(0.4)).quarters(), 4);
        assert_eq!(pi(None, Some(0.4)).quarters(), 4);
        assert_eq!(pi(Some(true), None).quarters(), 4);
        assert_eq!(pi(Some(true), Some(0.4)).quarters(), 2);
        assert_eq!(pi(Some(true), Some(0.857)).quarters(), 3);
    }

    #[test]
    fn an_unknown_value_is_not_written() {
        let pi = Pi { under_voltage: Some(false), ..Pi::default() };
        assert_eq!(serde_json::to_string(&pi).unwrap(), r#"{"under_voltage":false}"#);
        assert_eq!(serde_json::to_string(&Pi::default()).unwrap(), "{}");
    }
}
