//! Applications that never work: the log and the balancer show why.

use std::process::Command;

use super::{BREAKS, Folder};
use crate::lab::{Lab, PATIENCE};

#[test]
fn a_command_that_never_works_is_listed_and_one_that_never_listens_is_not() {
    let Some(lab) = Lab::new("unwell") else { return };
    if !lab.has("python3") {
        return;
    }
    let lb = lab.lb();
    let folder = Folder::new("unwell");
    let broken = folder.put("broken.py", &BREAKS.replace("broken = []", "broken = [True]"));
    let alone = ["--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "3000"];
    let ada = lab.pi("ada").web().served_at(3000).args(&["--", "python3", &broken]).start();
    let bob = lab.pi("bob").web().served_at(3000).args(&alone).start();
    let deaf = lab.pi("eve").web().args(&["--", "sleep", "600"]).start();
    let nobody = lab.pi("dan").web().args(&["--app", ":3999"]).start();
    for (node, why) in [
        (&ada, "its application is down (answered with status 500 on"),
        (&bob, "its application is down (listens on 127.0.0.1:3000 alone"),
    ] {
        lb.wait_for(why, PATIENCE, |nodes| {
            let at = node.endpoint().to_string();
            nodes.iter().any(|node| node.endpoint == at && node.why.contains(why))
        });
    }
    for (node, why) in [
        (&ada, "the application takes no requests port=3000 why=\"answered with status 500 on"),
        (&bob, "the application takes no requests port=3000 why=\"listens on 127.0.0.1:3000 alone"),
        (&deaf, "the command runs and does not listen on port 3000"),
        (&nobody, "why=\"connection refused on 127.0.0.1:3999"),
    ] {
        node.wait_for_log(why);
    }
    assert_eq!(ada.log_lines_with("takes no requests"), 1, "{}", ada.output());
    // Dan's application belongs to somebody else, who may start it at any time.
    assert_eq!(lb.nodes().len(), 3, "{:?}", lb.nodes());
    lab.get(&format!("http://{}/mend", ada.endpoint())).unwrap();
    lb.wait_until_up(&ada, PATIENCE);
}

#[test]
fn a_command_that_is_no_program_is_named_for_what_it_is() {
    let folder = Folder::new("no-program");
    let file = folder.put("noexec.sh", "echo");
    for (program, words) in
        [(file.as_str(), "chmod +x"), ("/tmp", "is a folder"), ("", "behind --")]
    {
        let node = Command::new(env!("CARGO_BIN_EXE_picluster"))
            .args(["web", "--", program])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&node.stderr);
        assert_eq!(node.status.code(), Some(64), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
