//! The real Avahi on a Pi: its daemon (with its own D-Bus) and its tools.

use super::{Pi, Process};

/// Allows everything to everyone: nobody else is on this bus.
const BUS: &str = r#"<busconfig><type>system</type>
<listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default">
<allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>"#;

const DAEMON: &str = "[server]\nuse-ipv4=yes\nuse-ipv6=yes\n[publish]\npublish-workstation=no\n";

impl Pi {
    /// Starts avahi-daemon; it is ready when this returns. The test kills it and starts it again.
    pub(crate) fn avahi(&self) -> Process {
        self.avahi_with("")
    }

    /// Starts avahi-daemon with one file of services.
    pub(crate) fn avahi_with(&self, services: &str) -> Process {
        self.on_lan(&format!(
            "mkdir -p /run/pi/@pi/dbus /run/pi/@pi/avahi-daemon /run/pi/@pi/services
            echo '{BUS}' >/run/pi/@pi/bus.conf
            echo '{DAEMON}' >/run/pi/@pi/avahi.conf"
        ));
        if !services.is_empty() {
            self.on_lan(&format!("cat >/run/pi/@pi/services/a.service <<'END'\n{services}\nEND"));
        }
        let bus = ["dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile"];
        self.start(&[&bus[..], &["--print-address"]].concat()).wait_for_log("unix:path=");
        let daemon = "mount --bind /run/services /etc/avahi/services
            exec avahi-daemon -f /run/avahi.conf --no-drop-root --no-chroot --no-rlimits";
        let daemon = self.start(&["sh", "-c", daemon]);
        daemon.wait_for_log("Server startup complete");
        daemon
    }

    /// The instance labels that Avahi resolves under a type, each once, sorted.
    pub(crate) fn avahi_browse(&self, service: &str) -> Vec<String> {
        let listing = self.run(&["avahi-browse", "-rpt", service]);
        let resolved = listing.lines().filter(|line| line.starts_with('='));
        let mut labels: Vec<_> =
            resolved.filter_map(|line| Some(line.split(';').nth(3)?.to_owned())).collect();
        labels.sort();
        labels.dedup();
        labels
    }

    /// Publishes a service with `avahi-publish`, which withdraws it when it is killed.
    pub(crate) fn avahi_publish(
        &self,
        label: &str,
        service: &str,
        port: u16,
        txt: &[&str],
    ) -> Process {
        let port = port.to_string();
        let publisher =
            self.start(&[&["avahi-publish", "-s", label, service, &port], txt].concat());
        publisher.wait_for_log("Established");
        publisher
    }
}
