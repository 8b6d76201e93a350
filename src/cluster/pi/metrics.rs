//! The state of boards as metrics. A node writes them of its own board, a balancer of all boards,
//! and both write the same families.

use std::fmt;

use crate::cluster::pi::Pi;
use crate::telemetry::exposition::{Families, Labels};

/// Writes the states of these boards, each under its labels. A value that a board does not know is
/// absent.
///
/// # Errors
/// The errors of the writer.
pub fn write(families: &mut Families<'_>, boards: &[(Labels<'_>, Pi)]) -> fmt::Result {
    let mut family = |name: &str, help: &str, value: &dyn Fn(&Pi) -> Option<f64>| {
        let mut gauges = families.gauges(name, help)?;
        for (labels, pi) in boards {
            if let Some(value) = value(pi) {
                gauges.add(labels, value)?;
            }
        }
        Ok(())
    };
    let celsius = |pi: &Pi| pi.temperature_c.map(rounded);
    family("picluster_board_temperature_celsius", "The processor's hottest sensor.", &celsius)?;
    let help = "1 while the supply is too weak.";
    family("picluster_board_under_voltage", help, &|pi| pi.under_voltage.map(f64::from))?;
    let help = "1 if the supply was too weak at some time since the board started.";
    family("picluster_board_under_voltage_since_boot", help, &|pi| {
        pi.under_voltage_since_boot.map(f64::from)
    })?;
    let help = "1 while the firmware holds the processor back.";
    family("picluster_board_throttled", help, &|pi| pi.throttled.map(f64::from))?;
    let help = "1 if the firmware held the processor back at some time since the board started.";
    family("picluster_board_throttled_since_boot", help, &|pi| {
        pi.throttled_since_boot.map(f64::from)
    })?;
    let help = "The part of its full speed at which the board may run.";
    family("picluster_board_speed_ratio", help, &|pi| pi.speed.map(rounded))
}

/// The value with three decimal places: sensors and clocks are not more exact, and a converted
/// binary fraction looks as if they were.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1000.0).round() / 1000.0
}
