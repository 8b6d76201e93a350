//! What a node knows of itself and its machine. What cannot be read is absent, never guessed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::Node;
use crate::node::printable;

/// The facts of one moment, as the page shows them and `Accept: application/json` gets them.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) schema: &'static str,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hostname: String,
    pub(super) boot: String,
    /// The board, like `Raspberry Pi 4 Model B Rev 1.4`.
    pub(super) model: Option<String>,
    /// Where this request arrived.
    pub(super) address: Option<SocketAddr>,
    /// Since the machine started.
    pub(super) uptime_s: Option<u64>,
    /// Since the node started.
    pub(super) serving_s: u64,
    pub(super) temperature_c: Option<f32>,
    pub(super) power: Option<Power>,
    /// Requests answered since the node started, this one included.
    pub(super) requests: u64,
    /// The balancer this request came through.
    pub(super) via: Option<String>,
}

/// What the firmware says of the supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Power {
    /// No fault since the machine started.
    Good,
    /// Under-voltage at some time since the machine started.
    WasLow,
    /// Under-voltage now.
    Low,
}

impl Facts {
    pub(super) fn gather(node: &Node, local: Option<SocketAddr>, via: Option<&str>) -> Self {
        let identity = &node.identity;
        Self {
            schema: "picluster/1",
            id: identity.id.to_string(),
            name: identity.name.clone(),
            hostname: identity.hostname.clone(),
            boot: identity.boot.to_string(),
            model: model(),
            address: local.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            uptime_s: read("/proc/uptime").as_deref().and_then(whole_seconds),
            serving_s: node.started.elapsed().as_secs(),
            temperature_c: temperature(),
            power: power(),
            requests: node.served.load(Ordering::Relaxed),
            via: via.and_then(balancer),
        }
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// The parts of the directories in `parent`.
fn each(parent: &str) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn model() -> Option<String> {
    read("/proc/device-tree/model").or_else(|| read("/sys/class/dmi/id/product_name"))
}

fn whole_seconds(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// The hottest of the sensors of the processor.
fn temperature() -> Option<f32> {
    let is_processor = |zone: &Path| {
        read(zone.join("type")).is_some_and(|kind| {
            ["cpu", "soc", "pkg"].iter().any(|part| kind.to_ascii_lowercase().contains(part))
        })
    };
    each("/sys/class/thermal")
        .filter(|zone| is_processor(zone))
        .filter_map(|zone| celsius(&read(zone.join("temp"))?))
        .reduce(f32::max)
}

/// Thousandths of a degree; what no running board can have is a broken sensor.
fn celsius(text: &str) -> Option<f32> {
    let degrees = text.parse::<f32>().ok()? / 1000.0;
    (-40.0..=130.0).contains(&degrees).then_some(degrees)
}

/// The firmware's flags know the past too; the kernel's alarm knows only this moment, so its
/// silence says nothing of the rest.
fn power() -> Option<Power> {
    let flags = read("/sys/devices/platform/soc/soc:firmware/get_throttled");
    flags.as_deref().and_then(throttled).or_else(|| {
        let sensor = each("/sys/class/hwmon")
            .find(|sensor| read(sensor.join("name")).as_deref() == Some("rpi_volt"))?;
        match read(sensor.join("in0_lcrit_alarm"))?.as_str() {
            "0" => Some(Power::Good),
            "1" => Some(Power::Low),
            _ => None,
        }
    })
}

/// Bit 0 is under-voltage now, bit 16 since the start.
fn throttled(flags: &str) -> Option<Power> {
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
    Some(match (flags & 1, flags & 1 << 16) {
        (1, _) => Power::Low,
        (_, 0) => Power::Good,
        _ => Power::WasLow,
    })
}

/// The last proxy of a `Via` header: `1.1 picluster-lb (comment), ...`.
fn balancer(via: &str) -> Option<String> {
    let mut words = via.rsplit(',').next()?.split_ascii_whitespace();
    let (_protocol, name) = (words.next()?, words.next()?);
    Some(printable(name, 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmwares_flags_become_words() {
        assert_eq!(throttled("0"), Some(Power::Good));
        assert_eq!(throttled("0x50005"), Some(Power::Low));
        assert_eq!(throttled("50000"), Some(Power::WasLow));
        assert_eq!(throttled("e0008"), Some(Power::Good));
        assert_eq!(throttled("?"), None);
    }

    #[test]
    fn a_broken_sensor_gives_nothing() {
        assert_eq!(celsius("48312"), Some(48.312));
        assert_eq!(celsius("-274000"), None);
        assert_eq!(celsius("n/a"), None);
    }

    #[test]
    fn the_nearest_proxy_is_the_balancer() {
        assert_eq!(balancer("1.1 pc-abc-lb").as_deref(), Some("pc-abc-lb"));
        assert_eq!(balancer("1.0 a, 1.1 b.example (x)").as_deref(), Some("b.example"));
        assert_eq!(balancer("1.1 <b>\u{7}").as_deref(), Some("<b>-"));
        assert_eq!(balancer("rubbish"), None);
        assert_eq!(balancer(""), None);
    }

    #[test]
    fn uptime_is_cut_to_seconds() {
        assert_eq!(whole_seconds("350735.47 234388.90"), Some(350_735));
    }
}
