//! Devices without picluster: they cannot say who they are, so an address is all they have.

use super::*;

#[test]
fn a_foreign_device_is_probed_at_its_path_and_named_by_its_label() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), ProbeResult::Status(404));
    lab.seen("Büro NAS", None, &[1]);
    let probe = lab.table.due(lab.now, &mut lab.rng).remove(0);
    assert_eq!((probe.path.as_str(), probe.foreign, probe.fresh_connection), ("/", true, true));
    lab.table.probed(probe.ticket, &ProbeResult::Status(404), lab.now);
    lab.pass(1);
    let node = &lab.members[0].node;
    assert_eq!((node.name.as_str(), node.hostname.as_str(), node.boot), ("B-ro-NAS", "host", None));
    lab.seen("Twin", None, &[1]);
    lab.pass(20);
    assert_eq!(lab.members.len(), 1, "one machine under two names");
}
