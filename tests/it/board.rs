//! A Pi that its firmware throttles, from the kernel's files to the rotation.

use std::collections::BTreeMap;

use crate::lab::{Lab, PATIENCE};

/// The files of a Pi 4 with a weak supply; they replace this machine's own.
const WEAK: &str = r"
    mkdir -p /run/platform/soc/soc:firmware /run/cpu/cpufreq/policy0
    echo 50005 >/run/platform/soc/soc:firmware/get_throttled
    echo 1500000 >/run/cpu/cpufreq/policy0/cpuinfo_max_freq
    echo 600000 >/run/cpu/cpufreq/policy0/scaling_cur_freq
    mount --bind /run/platform /sys/devices/platform
    mount --bind /run/cpu /sys/devices/system/cpu";

#[test]
fn a_throttled_node_gets_half_of_what_the_other_gets_until_it_is_well() {
    let Some(lab) = Lab::new("throttled") else { return };
    let lb = lab.lb();
    let ada = lab.pi("ada").web().after(WEAK).start();
    let bob = lab.pi("bob").web().start();
    lb.wait_for_nodes(2);
    let why = |part: &str| {
        lb.wait_for(part, PATIENCE, |nodes| {
            let endpoint = ada.endpoint().to_string();
            nodes.iter().any(|node| node.endpoint == endpoint && node.why.contains(part))
        });
    };
    let (names, shares) = ([lb.name_of(&ada), lb.name_of(&bob)], || {
        let mut shares = BTreeMap::new();
        for _ in 0..30 {
            let answer = lab.get(&lb.url()).expect("both are up");
            *shares.entry(answer.header("x-picluster-node").unwrap().to_owned()).or_insert(0) += 1;
        }
        shares
    });
    let expected = |counts: [u32; 2]| BTreeMap::from_iter(names.clone().into_iter().zip(counts));

    why("throttled, so it gets half of a share");
    assert_eq!(shares(), expected([10, 20]));
    lb.wait_for_log("node's board is in trouble");
    let health = lab.get(&format!("http://{}/.picluster/health", ada.endpoint())).unwrap();
    assert!(health.body.contains(r#""under_voltage":true"#), "{}", health.body);

    ada.pi().run(&["sh", "-c", "echo 0 >/run/platform/soc/soc:firmware/get_throttled"]);
    why("answered the last probe");
    assert_eq!(shares(), expected([15, 15]));
    let health = lab.get(&format!("http://{}/.picluster/health", ada.endpoint())).unwrap();
    assert!(health.body.contains(r#""under_voltage_since_boot":true"#), "{}", health.body);
}
