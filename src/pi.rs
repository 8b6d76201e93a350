//! How the board of a node is: what its sensors and its firmware say. Words only; a node reads them
//! from its machine and says them in its health answer, a balancer reads them there.

use serde::{Deserialize, Serialize};

/// The state of a board. What a machine cannot tell is `None`, which is never "fine".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pi {
    /// The board, like `Raspberry Pi 4 Model B Rev 1.4`; at most 63 visible characters and spaces.
    pub model: Option<String>,
    /// The hottest sensor of the processor, in degrees Celsius.
    pub temperature_c: Option<f32>,
    /// The supply is too weak now.
    pub under_voltage: Option<bool>,
    /// The supply was too weak at some time since the machine started.
    pub under_voltage_since_boot: Option<bool>,
    /// The firmware holds the processor back now, for heat or for want of power.
    pub throttled: Option<bool>,
    /// It did at some time since the machine started.
    pub throttled_since_boot: Option<bool>,
    /// The part of its full speed at which the board may run now, 0 to 1: below 1 only while it is
    /// throttled.
    pub speed: Option<f32>,
}
