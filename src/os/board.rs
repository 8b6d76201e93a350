//! The state of this machine's board: model, temperature, supply and throttling, from kernel files that
//! any user may read. A missing sensor is reported as unknown, never as fine. This module runs no program
//! (`vcgencmd` needs a device that a service does not get) and judges nothing: the words are in
//! [`crate::cluster::pi`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::pi::Pi;

/// The files are read no more often than this: each balancer asks every second, and every page too.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Bits of the firmware's flags; the same bits 16 higher cover the time since the machine started.
const UNDER_VOLTAGE: u32 = 1;
/// The processor's frequency is capped, it is throttled, or it has reached its soft limit of
/// temperature: to a client that waits for an answer these are one.
const HELD_BACK: u32 = 0b1110;
const SINCE_BOOT: u32 = 16;

/// The board of this machine, with its last reading.
#[derive(Debug)]
pub struct Board {
    /// `/`, or the directory in which a test has built another machine's files.
    root: PathBuf,
    last: Mutex<Option<(Instant, Pi)>>,
}

impl Board {
    /// The board whose `proc` and `sys` are in this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), last: Mutex::default() }
    }

    /// Its state, as of now or of less than a second ago.
    pub fn health(&self) -> Pi {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pi)) = last.as_ref().filter(|(at, _)| at.elapsed() < READ_EVERY) {
            return pi.clone();
        }
        let now = read(&self.root);
        let pi = match last.as_ref() {
            Some((_, before)) => remember(now, before),
            None => now,
        };
        *last = Some((Instant::now(), pi.clone()));
        pi
    }
}

/// Keeps each flag for the time since the boot once it was set: the alarm of newer kernels has no past, and
/// they make the firmware forget its own every two seconds.
fn remember(now: Pi, before: &Pi) -> Pi {
    let seen = |old: Option<bool>, new: Option<bool>| if old == Some(true) { old } else { new };
    Pi {
        under_voltage_since_boot: seen(
            before.under_voltage_since_boot,
            now.under_voltage_since_boot,
        ),
        throttled_since_boot: seen(before.throttled_since_boot, now.throttled_since_boot),
        ..now
    }
}

/// Reads all sensors and flags.
fn read(root: &Path) -> Pi {
    let flags = flags(root);
    let flag = |bits: u32| flags.map(|flags| flags & bits != 0);
    let under_voltage = flag(UNDER_VOLTAGE).or_else(|| alarm(root));
    // A trouble of now is one since the boot too.
    let since_boot = |bits: u32, now: Option<bool>| match now {
        Some(true) => now,
        _ => flag(bits << SINCE_BOOT),
    };
    let throttled = flag(HELD_BACK);
    let pi = Pi {
        model: model(root),
        temperature_c: temperature(root),
        under_voltage,
        under_voltage_since_boot: since_boot(UNDER_VOLTAGE, under_voltage),
        throttled,
        throttled_since_boot: since_boot(HELD_BACK, throttled),
        speed: throttled.and_then(|throttled| if throttled { speed(root) } else { Some(1.0) }),
    };
    pi.checked()
}

/// The text of a file without the ends of lines and the NUL of the device tree.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(path: impl AsRef<Path>) -> Option<f32> {
    text(path)?.parse().ok()
}

/// The entries of a directory whose name passes the test.
fn each(parent: impl AsRef<Path>, wanted: fn(&str) -> bool) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(move |entry| entry.file_name().to_str().is_some_and(wanted)).map(|e| e.path())
}

fn model(root: &Path) -> Option<String> {
    text(root.join("proc/device-tree/model"))
        .or_else(|| text(root.join("sys/class/dmi/id/product_name")))
}

/// The hottest of the processor's sensors: of its thermal zones or, where there are none, of those of
/// the hardware monitor.
fn temperature(root: &Path) -> Option<f32> {
    let is_processor = |kind: &str| {
        let kind = kind.to_ascii_lowercase();
        ["cpu", "soc", "pkg", "coretemp", "k10temp"].iter().any(|part| kind.contains(part))
    };
    let of_processor = |named: PathBuf| text(named).is_some_and(|kind| is_processor(&kind));
    let zones = each(root.join("sys/class/thermal"), |name| name.starts_with("thermal_zone"))
        .filter(|zone| of_processor(zone.join("type")))
        .map(|zone| zone.join("temp"));
    let sensors = || {
        each(root.join("sys/class/hwmon"), |_| true)
            .filter(|monitor| of_processor(monitor.join("name")))
            .flat_map(|monitor| {
                each(monitor, |name| name.starts_with("temp") && name.ends_with("_input"))
            })
    };
    hottest(zones).or_else(|| hottest(sensors()))
}

/// The files are in thousandths of a degree.
fn hottest(files: impl Iterator<Item = PathBuf>) -> Option<f32> {
    files.filter_map(|file| Some(number(file)? / 1000.0)).reduce(f32::max)
}

/// The firmware's flags, in hexadecimal. Its device stands under the SoC, whose name has an address on
/// some models and none on others. The kernel logs once that the file is deprecated; no other file
/// shows an ordinary user that a board is throttled.
fn flags(root: &Path) -> Option<u32> {
    let is_firmware = |name: &str| name.ends_with("firmware");
    let platform = root.join("sys/devices/platform");
    let nested =
        each(&platform, |name| name.starts_with("soc")).flat_map(|soc| each(soc, is_firmware));
    let flags = each(&platform, is_firmware)
        .chain(nested)
        .find_map(|firmware| text(firmware.join("get_throttled")))?;
    u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()
}

/// The alarm of the supply's monitor. It covers this moment only: its silence proves nothing about the past.
fn alarm(root: &Path) -> Option<bool> {
    let is_supply = |monitor: &PathBuf| text(monitor.join("name")).as_deref() == Some("rpi_volt");
    let supply = each(root.join("sys/class/hwmon"), |_| true).find(is_supply)?;
    match text(supply.join("in0_lcrit_alarm"))?.as_str() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// The part of its full speed at which the fastest core runs.
fn speed(root: &Path) -> Option<f32> {
    each(root.join("sys/devices/system/cpu/cpufreq"), |name| name.starts_with("policy"))
        .filter_map(|cores| {
            let full = number(cores.join("cpuinfo_max_freq")).filter(|full| *full > 0.0)?;
            let now = number(cores.join("scaling_cur_freq"));
            Some(now.or_else(|| number(cores.join("scaling_max_freq")))? / full)
        })
        .reduce(f32::max)
        .map(|speed| speed.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of another machine; gone with it.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("picluster-board-{}-{name}", std::process::id());
            let machine = Self(std::env::temp_dir().join(name));
            machine.write(files);
            machine
        }

        fn write(&self, files: &[(&str, &str)]) {
            for (path, text) in files {
                let path = self.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_pi_zero_that_is_well_says_so() {
        let zero = Machine::new(
            "zero",
            &[
                ("proc/device-tree/model", "Raspberry Pi Zero W Rev 1.1\0"),
                ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/temp", "41234\n"),
                ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
                ("sys/devices/platform/soc/20200000.gpio/uevent", "x\n"),
            ],
        );
        let expected = Pi {
            model: Some("Raspberry Pi Zero W Rev 1.1".to_owned()),
            temperature_c: Some(41.234),
            under_voltage: Some(false),
            under_voltage_since_boot: Some(false),
            throttled: Some(false),
            throttled_since_boot: Some(false),
            speed: Some(1.0),
        };
        assert_eq!(read(&zero.0), expected);
    }

    #[test]
    fn a_pi_3_at_its_soft_limit_runs_at_a_part_of_its_speed() {
        let three = Machine::new(
            "three",
            &[
                ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/temp", "61224\n"),
                ("sys/devices/platform/soc/soc:firmware/get_throttled", "80008\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1400000\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1200000\n"),
            ],
        );
        let pi = read(&three.0);
        assert_eq!((pi.throttled, pi.under_voltage), (Some(true), Some(false)));
        assert_eq!(pi.quarters(), 3);
        assert_eq!(pi.trouble().as_deref(), Some("throttled at 61 °C; cooling helps"));
    }

    #[test]
    fn a_pi_4_with_a_weak_supply_is_throttled_and_what_was_stays() {
        let flags = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let four = Machine::new(
            "four",
            &[
                (flags, "50005\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1500000\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "600000\n"),
            ],
        );
        let before = read(&four.0);
        assert_eq!((before.under_voltage, before.speed), (Some(true), Some(0.4)));
        let trouble = "under-voltage, and throttled for it; a better power supply or cable helps";
        assert_eq!(before.trouble().as_deref(), Some(trouble));
        // The kernel has made the firmware forget.
        four.write(&[(flags, "0\n")]);
        let now = remember(read(&four.0), &before);
        assert_eq!(
            (now.under_voltage, now.throttled, now.trouble()),
            (Some(false), Some(false), None)
        );
        assert_eq!(
            (now.under_voltage_since_boot, now.throttled_since_boot),
            (Some(true), Some(true))
        );
        four.write(&[(flags, "nonsense\n")]);
        assert_eq!((read(&four.0).under_voltage, read(&four.0).speed), (None, None));
    }

    #[test]
    fn a_pi_5_has_its_firmware_elsewhere_or_only_an_alarm() {
        let five = Machine::new(
            "five",
            &[
                ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
                ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/temp", "85000\n"),
                ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
                ("sys/class/hwmon/hwmon1/name", "rp1_adc\n"),
                ("sys/class/hwmon/hwmon2/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "0\n"),
            ],
        );
        let pi = read(&five.0);
        assert_eq!((pi.under_voltage, pi.under_voltage_since_boot), (Some(false), None));
        assert_eq!((pi.throttled, pi.speed, pi.temperature_c), (None, None, Some(85.0)));
        five.write(&[("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")]);
        assert_eq!(read(&five.0).under_voltage_since_boot, Some(true));
        let firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        five.write(&[(firmware, "e0006\n")]);
        let pi = read(&five.0);
        assert_eq!((pi.under_voltage, pi.throttled), (Some(false), Some(true)));
        // It reports that it is throttled, and no file reports to which part.
        assert_eq!((pi.speed, pi.quarters()), (None, 4));
    }

    #[test]
    fn a_pc_knows_its_temperature_and_nothing_of_its_supply() {
        let pc = Machine::new(
            "pc",
            &[
                ("sys/class/dmi/id/product_name", "ThinkCentre M710q\n"),
                ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
                ("sys/class/thermal/thermal_zone0/temp", "99000\n"),
                ("sys/class/hwmon/hwmon0/name", "k10temp\n"),
                ("sys/class/hwmon/hwmon0/temp1_input", "48312\n"),
                ("sys/class/hwmon/hwmon0/temp2_input", "-274000\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3500000\n"),
                ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "800000\n"),
            ],
        );
        let (model, temperature_c) = (Some("ThinkCentre M710q".to_owned()), Some(48.312));
        assert_eq!(read(&pc.0), Pi { model, temperature_c, ..Pi::default() });
        assert_eq!(read(Path::new("/nowhere")), Pi::default());
    }

    #[test]
    fn the_files_are_read_once_a_second_at_most() {
        let flags = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let machine = Machine::new("often", &[(flags, "0\n")]);
        let board = Board::new(&machine.0);
        assert_eq!(board.health().under_voltage, Some(false));
        machine.write(&[(flags, "1\n")]);
        let read_before = |board: &Board| board.last.lock().unwrap().as_ref().unwrap().0;
        let at = read_before(&board);
        let again = board.health();
        assert!(again.under_voltage == Some(false) || read_before(&board) > at);
    }
}
