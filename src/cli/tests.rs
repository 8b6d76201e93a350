//! Command lines and their results. No process runs, and the environment is an argument.

use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::flags::SHORT;
use super::*;
use crate::cluster::balance::Balance;
use crate::cluster::config::{
    AccessLogForm, AppHealth, DirConfig, LbConfig, Limits, Serves, WebConfig,
};
use crate::cluster::node::{DEFAULT_CLUSTER, ForwardFields, Offer};
use crate::commands::drain::{DrainConfig, DrainTarget};
use crate::commands::nodes::Form;
use crate::telemetry::log::{LogFormat, Logging};

type Vars<'a> = &'a [(&'a str, &'a str)];

fn typed(line: &str, vars: Vars<'_>) -> Result<Invocation, Stop> {
    let args = ["picluster"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    parse(args, &|name| {
        vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
    })
}

fn web(line: &str, vars: Vars<'_>) -> WebConfig {
    match typed(line, vars).unwrap().command {
        Command::Web(config) => config,
        other => panic!("{other:?}"),
    }
}

fn lb(line: &str, vars: Vars<'_>) -> LbConfig {
    match typed(line, vars).unwrap().command {
        Command::Lb(config) => config,
        other => panic!("{other:?}"),
    }
}

/// The address that a drain asks, and the node that it names.
fn drains(line: &str, vars: Vars<'_>) -> (String, Option<String>) {
    match typed(line, vars).unwrap().command {
        Command::Drain(DrainConfig { target: DrainTarget::OwnNode(at), .. }) => {
            (at.to_string(), None)
        }
        Command::Drain(DrainConfig { target: DrainTarget::AtBalancer(at, node), .. }) => {
            (at.to_string(), Some(node))
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(line: &str, vars: Vars<'_>) -> String {
    match typed(line, vars) {
        Err(Stop::Refused(text)) => {
            assert!(text.ends_with('\n'), "{text:?}");
            text.trim_end().trim_start_matches("picluster: ").to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_flags_every_setting_has_its_documented_default() {
    let web = web("web", &[]);
    assert_eq!(web.listen.to_string(), "[::]:8080");
    assert_eq!((web.name, web.id, web.drain), (None, None, Duration::from_secs(30)));
    assert_eq!(web.discovery.cluster, DEFAULT_CLUSTER);
    assert!(web.discovery.interfaces.is_empty() && !web.discovery.ipv6 && !web.discovery.loopback);

    let lb = lb("lb", &[]);
    assert_eq!(lb.listen.to_string(), "[::]:80");
    assert_eq!(lb.admin.to_string(), "[::]:7070");
    assert_eq!(lb.access_log, None);
    assert_eq!((lb.balance, lb.inflight_max, lb.sticky), (Balance::RoundRobin, None, false));
    assert!(lb.workers >= 1 && lb.claim_name && lb.node_header && !lb.allow_off_link);
    assert!(!lb.via);
    assert_eq!(lb.hold, Duration::from_secs(5));
    assert_eq!(format!("{:?}", lb.limits), format!("{:?}", Limits::default()));

    let invocation = typed("web", &[]).unwrap();
    let logging = Logging { format: LogFormat::Text, level: LevelFilter::INFO };
    assert_eq!((invocation.logging, invocation.exit_with_stdin), (logging, false));
}

#[test]
fn the_help_says_the_defaults_that_are_taken() {
    let Err(Stop::Asked(help)) = typed("lb --help", &[]) else { panic!() };
    let default = Limits::default();
    for (flag, time) in [
        ("--hold", lb("lb", &[]).hold),
        ("--head-timeout", default.head),
        ("--keep-alive", default.keep_alive),
        ("--body-idle", default.body),
        ("--send-idle", default.send),
        ("--answer-timeout", default.answer),
        ("--answer-idle", default.answer_body),
        ("--tunnel-idle", default.tunnel),
    ] {
        let line = help.lines().find(|line| line.trim_start().starts_with(flag)).unwrap();
        let shown = line.rsplit_once('(').unwrap().1.trim_end_matches(')');
        assert_eq!(humantime::parse_duration(shown).unwrap(), time, "{line}");
    }
    assert!(help.contains(&format!("({})", default.connections)));
}

#[test]
fn every_help_fits_80_columns() {
    for command in ["", "web", "lb", "demo", "nodes", "status", "drain", "undrain"] {
        let line = &format!("{command} --help");
        let Err(Stop::Asked(help)) = typed(line, &[]) else { panic!("{line}") };
        for text in help.lines() {
            assert!(text.chars().count() <= 80, "{line}: {text}");
        }
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_default() {
    let vars: Vars<'_> = &[
        ("PICLUSTER_WEB_LISTEN", "10.0.0.1:81"),
        ("PICLUSTER_LB_LISTEN", ":82"),
        ("PICLUSTER_CLUSTER", "red"),
        ("PICLUSTER_INTERFACE", "eth0, wlan0"),
        ("PICLUSTER_IPV6", "true"),
        ("PICLUSTER_DRAIN", "2m"),
        ("PICLUSTER_NAME", "ada"),
        ("PICLUSTER_ID", "pi-7"),
    ];
    let by_vars = web("web", vars);
    assert_eq!(by_vars.listen.to_string(), "10.0.0.1:81");
    assert_eq!(by_vars.discovery.cluster, "red");
    assert_eq!(by_vars.discovery.interfaces, ["eth0", "wlan0"]);
    assert!(by_vars.discovery.ipv6);
    assert_eq!(by_vars.drain, Duration::from_secs(120));
    assert_eq!(by_vars.name.as_deref(), Some("ada"));
    assert_eq!(by_vars.id.unwrap().as_str(), "pi-7");

    let by_flags = web("web --listen :83 --cluster blue --interface a,b --interface c", vars);
    assert_eq!(by_flags.listen.to_string(), "[::]:83");
    assert_eq!(by_flags.discovery.cluster, "blue");
    assert_eq!(by_flags.discovery.interfaces, ["a", "b", "c"]);
}

#[test]
fn the_offer_of_a_node_is_set_by_flags_or_variables() {
    assert_eq!(web("web", &[]).offer, Offer::default());
    let flags = "web --service blog --host Blog.local. --host a.example --path /blog/ --strip \
                 --weight 3 --balance p2c --forward-fields for";
    let vars: Vars<'_> = &[
        ("PICLUSTER_WEB_SERVICE", "blog"),
        ("PICLUSTER_WEB_HOST", "a.example, blog.local"),
        ("PICLUSTER_WEB_PATH", "/blog"),
        ("PICLUSTER_WEB_STRIP", "1"),
        ("PICLUSTER_WEB_WEIGHT", "3"),
        ("PICLUSTER_WEB_BALANCE", "p2c"),
        ("PICLUSTER_WEB_FORWARD_FIELDS", "for"),
    ];
    let offer = Offer {
        service: "blog".to_owned(),
        hosts: vec!["a.example".to_owned(), "blog.local".to_owned()],
        path: "/blog".to_owned(),
        strip: true,
        weight: 3,
        balance: Some(Balance::P2c),
        forward: ForwardFields::For,
    };
    assert_eq!(web(flags, &[]).offer, offer);
    assert_eq!(web("web", vars).offer, offer);
}

#[test]
fn an_offer_that_fits_no_advertisement_is_refused() {
    let hosts: Vec<_> = (0..16).map(|n| format!("--host number-{n}.blog.local")).collect();
    let text = refused(&format!("web {}", hosts.join(" ")), &[]);
    assert!(text.ends_with("give fewer or shorter hosts"), "{text}");
}

#[test]
fn a_role_does_not_read_the_other_roles_variables() {
    let vars: Vars<'_> = &[("PICLUSTER_LB_LISTEN", "nonsense"), ("PICLUSTER_WEB_LISTEN", ":81")];
    assert_eq!(web("web", vars).listen.to_string(), "[::]:81");
}

#[test]
fn every_setting_of_the_balancer_has_its_twin() {
    let config = lb(
        "lb",
        &[
            ("PICLUSTER_LB_ADMIN", "127.0.0.1:9"),
            ("PICLUSTER_LB_WORKERS", "3"),
            ("PICLUSTER_LB_NO_NODE_HEADER", "1"),
            ("PICLUSTER_LB_VIA", "1"),
            ("PICLUSTER_LB_ALLOW_OFF_LINK", "TRUE"),
            ("PICLUSTER_LB_TRUSTED_PROXY", "10.0.0.7, fd00::/8"),
            ("PICLUSTER_LB_PROXY_PROTOCOL", "1"),
            ("PICLUSTER_LB_ACCESS_LOG", "json"),
            ("PICLUSTER_LB_BALANCE", "hash:cookie=sid"),
            ("PICLUSTER_LB_STICKY", "1"),
            ("PICLUSTER_LB_MAX_INFLIGHT", "21"),
            ("PICLUSTER_LB_HOLD", "0s"),
            ("PICLUSTER_LB_HEAD_TIMEOUT", "11s"),
            ("PICLUSTER_LB_KEEP_ALIVE", "12s"),
            ("PICLUSTER_LB_BODY_IDLE", "13s"),
            ("PICLUSTER_LB_SEND_IDLE", "14s"),
            ("PICLUSTER_LB_ANSWER_TIMEOUT", "15s"),
            ("PICLUSTER_LB_ANSWER_IDLE", "16s"),
            ("PICLUSTER_LB_TUNNEL_IDLE", "17s"),
            ("PICLUSTER_LB_MAX_CONNECTIONS", "18"),
            ("PICLUSTER_LB_MAX_CONNECTIONS_PER_CLIENT", "19"),
            ("PICLUSTER_LB_MAX_BODY", "20k"),
        ],
    );
    assert_eq!((config.admin.to_string().as_str(), config.workers), ("127.0.0.1:9", 3));
    assert!(!config.node_header && config.allow_off_link && config.hold.is_zero());
    assert!(config.via);
    assert_eq!(config.access_log, Some(AccessLogForm::Json));
    assert_eq!(config.balance.to_string(), "hash:cookie=sid");
    assert_eq!((config.sticky, config.inflight_max), (true, Some(21)));
    assert!(config.trusted_proxies.proxy_protocol);
    let trusted = |ip: &str| config.trusted_proxies.contains(ip.parse().unwrap());
    assert!(trusted("10.0.0.7") && trusted("::ffff:10.0.0.7") && trusted("fd12::1"));
    assert!(!trusted("10.0.0.8") && !trusted("127.0.0.1") && !trusted("::1"));
    let l = config.limits;
    let times = [l.head, l.keep_alive, l.body, l.send, l.answer, l.answer_body, l.tunnel];
    assert_eq!(times.map(|time| time.as_secs()), [11, 12, 13, 14, 15, 16, 17]);
    assert_eq!((l.connections, l.connections_per_client), (18, Some(19)));
    assert_eq!(l.body_bytes, Some(20 * 1024));
}

#[test]
fn a_size_is_in_bytes_or_has_a_unit() {
    let size = |text| lb(&format!("lb --max-body {text}"), &[]).limits.body_bytes;
    assert_eq!(
        [size("0"), size("1000"), size("10M"), size("1g")],
        [0, 1000, 10 << 20, 1 << 30].map(Some)
    );
    for bad in ["M", "1.5M", "-1", "10MB", "ten"] {
        let text = refused(&format!("lb --max-body={bad}"), &[]);
        let fix = "write it in bytes or with K, M or G, for example --max-body 10M";
        assert_eq!(text, format!("--max-body \"{bad}\" is no size; {fix}"));
    }
    for large in ["2000000G", "99999999999999999999"] {
        let text = refused(&format!("lb --max-body {large}"), &[]);
        assert!(text.ends_with("is out of range; the most is 1048576G"), "{text}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset_and_space_around_a_value_is_dropped() {
    let vars: Vars<'_> =
        &[("PICLUSTER_WEB_LISTEN", ""), ("PICLUSTER_IPV6", " "), ("PICLUSTER_CLUSTER", "red\r\n")];
    let config = web("web", vars);
    assert_eq!(config.listen.port(), 8080);
    assert!(!config.discovery.ipv6);
    assert_eq!(config.discovery.cluster, "red");
    assert!(!web("web", &[("PICLUSTER_IPV6", "0")]).discovery.ipv6);
}

#[test]
fn a_role_runs_the_command_of_that_name_with_its_flags() {
    assert_eq!(web("--role web --listen :81", &[]).listen.port(), 81);
    assert_eq!(lb("--listen :81 --role=lb --workers 2", &[]).workers, 2);
    assert_eq!(lb("", &[("PICLUSTER_ROLE", "lb")]).listen.port(), 80);
    assert_eq!(web("--name ada", &[("PICLUSTER_ROLE", "web")]).name.unwrap(), "ada");
    // A flag wins over the variable, and a command over both.
    assert_eq!(web("--role web", &[("PICLUSTER_ROLE", "lb")]).listen.port(), 8080);
    assert_eq!(web("web", &[("PICLUSTER_ROLE", "lb")]).listen.port(), 8080);
    assert_eq!(web("web", &[("PICLUSTER_ROLE", "nonsense")]).listen.port(), 8080);
    assert!(matches!(typed("--help", &[("PICLUSTER_ROLE", "web")]), Err(Stop::Asked(_))));
    assert!(matches!(typed("--role lb --help", &[]), Err(Stop::Asked(h)) if h.contains("--hold")));
}

#[test]
fn an_address_may_be_a_port_alone() {
    for (text, addr) in [
        ("9000", "[::]:9000"),
        (":9000", "[::]:9000"),
        ("0", "[::]:0"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::1]:9000"),
    ] {
        assert_eq!(web(&format!("web --listen {text}"), &[]).listen.to_string(), addr);
    }
}

#[test]
fn hidden_flags_are_for_the_children_of_a_demo() {
    let line = "lb --loopback --no-claim-name --exit-with-stdin --id x";
    let config = lb(line, &[]);
    assert!(config.discovery.loopback && !config.claim_name);
    assert!(typed(line, &[]).unwrap().exit_with_stdin);
    let Err(Stop::Asked(help)) = typed("lb --help", &[]) else { panic!() };
    for flag in ["--loopback", "--no-claim-name", "--exit-with-stdin", "--id"] {
        assert!(!help.contains(flag), "{flag}");
    }
}

#[test]
fn logging_is_chosen_by_flag_or_variable() {
    let json = Logging { format: LogFormat::Json, level: LevelFilter::DEBUG };
    assert_eq!(typed("web --log json --log-level debug", &[]).unwrap().logging, json);
    let vars: Vars<'_> = &[("PICLUSTER_LOG", "json"), ("PICLUSTER_LOG_LEVEL", "DEBUG")];
    assert_eq!(typed("lb", vars).unwrap().logging, json);
}

#[test]
fn a_demo_has_one_to_sixteen_nodes() {
    let nodes = |line| match typed(line, &[]).unwrap().command {
        Command::Demo(config) => (config.nodes, config.verbose),
        other => panic!("{other:?}"),
    };
    assert_eq!(nodes("demo"), (3, false));
    assert_eq!(nodes("demo --nodes 16 --verbose"), (16, true));
    for bad in ["0", "17"] {
        let text = refused(&format!("demo --nodes {bad}"), &[]);
        assert_eq!(text, format!("--nodes \"{bad}\" is out of range; write a number from 1 to 16"));
    }
}

#[test]
fn a_bad_flag_is_refused_in_one_sentence_that_names_it_and_the_fix() {
    for (line, sentence) in [
        (
            "web --listen 10.0.0.1",
            "--listen \"10.0.0.1\" has no port; write --listen 10.0.0.1:8080",
        ),
        (
            "web --listen ::1",
            "--listen \"::1\" has no brackets around the IPv6 address; \
             write [ADDR]:PORT, for example --listen [::1]:8080",
        ),
        (
            "web --listen localhost:81",
            "--listen \"localhost:81\" has a name, not an address; write --listen 127.0.0.1:81",
        ),
        (
            "web --listen 65536",
            "--listen \"65536\" is no port; ports go from 1 to 65535 (0 takes a free one)",
        ),
        (
            "web --listen 80x",
            "--listen \"80x\" is no address with a port; \
             write PORT, :PORT or ADDR:PORT, for example --listen :8080",
        ),
        (
            "web --name käthe",
            "--name \"käthe\" is no node name: 1 to 63 visible ASCII characters, no space; \
             for example --name k-the",
        ),
        (
            "lb --cluster a/b",
            "--cluster \"a/b\" is no cluster name: 1 to 32 letters, digits and . _ -; \
             for example --cluster class-7b",
        ),
        (
            "lb --interface eth0,",
            "--interface \"eth0,\" is no interface name; \
             write it as `ip link` shows it, for example --interface eth0",
        ),
        (
            "lb --trusted-proxy 10.0.0.7/24",
            "--trusted-proxy \"10.0.0.7/24\" is no address and no network; \
             write 10.0.0.7, or a network by its first address: --trusted-proxy 10.0.0.0/24",
        ),
        (
            "lb --proxy-protocol",
            "--proxy-protocol needs to know from whom: add --trusted-proxy with the address \
             of your proxy, for example --trusted-proxy 10.0.0.7",
        ),
        (
            "web --service a/b",
            "--service \"a/b\" is no service name: 1 to 32 letters, digits and . _ -; \
             for example --service blog",
        ),
        (
            "web --host 10.0.0.1",
            "--host \"10.0.0.1\" is no name of a host of its own: letters, digits, - and dots, no \
             port, no address, and not picluster.local, where all are; for example --host blog.local",
        ),
        (
            "web --path wiki",
            "--path \"wiki\" is no path of a route: / and names of letters, digits and \
             . _ ~ @ + -, without .. and .picluster; for example --path /wiki",
        ),
        (
            "web --path /a/../b",
            "--path \"/a/../b\" is no path of a route: / and names of letters, digits and \
             . _ ~ @ + -, without .. and .picluster; for example --path /blog",
        ),
        ("web --strip", "--strip needs a path to cut off; add --path, for example --path /blog"),
        ("web --weight 0", "--weight \"0\" is out of range; write a number from 1 to 100"),
        ("lb --workers 0", "--workers \"0\" is out of range; write a number from 1 to 256"),
        ("lb --workers two", "--workers \"two\" is no such number; write a number from 1 to 256"),
        (
            "lb --hold 5",
            "--hold \"5\" has no unit; write it with ms, s, m or h, for example --hold 5s",
        ),
        ("lb --hold 6m", "--hold \"6m\" is out of range; it goes from 0s to 5m"),
        ("lb --head-timeout 0s", "--head-timeout \"0s\" is out of range; it goes from 10ms to 24h"),
        (
            "lb --drain soon",
            "--drain \"soon\" is no time; write it with ms, s, m or h, for example --drain 5s",
        ),
        (
            "lb --access-log yes",
            "--access-log \"yes\" is no form of the access log; write text or json",
        ),
        (
            "lb --balance fastest",
            "--balance \"fastest\" is no policy; write round-robin, least-requests, p2c, hash, \
             hash:header=NAME, hash:cookie=NAME or first",
        ),
        (
            "lb --max-inflight 0",
            "--max-inflight \"0\" is out of range; write a number from 1 to 1000000",
        ),
        ("web --log xml", "--log \"xml\" is no form of the log; write text or json"),
        (
            "web --log-level loud",
            "--log-level \"loud\" is no level; write error, warn, info, debug or trace",
        ),
        (
            "lb --admin :80",
            "requests and the admin page cannot both have [::]:80; \
             give --listen or --admin another port, for example --admin :7070",
        ),
        ("web --lisen 1", "`picluster web` takes no --lisen; did you mean --listen?"),
        ("web --hold 1s", "`picluster web` takes no --hold; `picluster lb` has it"),
        ("web --xyz", "`picluster web` takes no --xyz; see `picluster web --help`"),
        ("nodes --name", "`picluster nodes` takes no --name; did you mean --names?"),
        ("lb --name x", "`picluster lb` takes no --name; `picluster web` has it"),
        (
            "web --name ada node server.js -p 80",
            "`picluster web` takes no node; a command comes behind --: \
             picluster web --name ada -- node server.js -p 80",
        ),
        (
            "web nodes",
            "`picluster web` takes no nodes; a command comes behind --: picluster web -- nodes",
        ),
        ("web x -- y", "`picluster web` takes no x; see `picluster web --help`"),
        ("nodes x", "`picluster nodes` takes no x; see `picluster nodes --help`"),
        (
            "web --",
            "there is no command behind --; \
             write what starts the application, for example -- node server.js",
        ),
        (
            "web --listen",
            "a value is required for '--listen <ADDR:PORT>' but none was supplied; \
             see `picluster web --help`",
        ),
        ("dem", "there is no command dem; did you mean `picluster demo`?"),
        ("xyz", "there is no command xyz; there are web, lb, demo, nodes, status, drain, undrain"),
        ("--role x", "--role \"x\" is no role; write --role web or --role lb"),
        ("--role", "--role needs a value: write --role web or --role lb"),
        ("web --role lb", "`picluster web` already says what to run; leave out --role"),
        (
            "--listen :80 lb",
            "the command comes first: `picluster web ...` or `picluster lb ...`, and then its flags",
        ),
    ] {
        assert_eq!(refused(line, &[]), sentence, "{line}");
    }
}

#[test]
fn a_bad_variable_is_refused_by_its_own_name() {
    for (line, var, value, sentence) in [
        ("lb", "PICLUSTER_LB_WORKERS", "0", "=\"0\" is out of range; write a number from 1 to 256"),
        (
            "lb",
            "PICLUSTER_LB_LISTEN",
            "10.0.0.1",
            "=\"10.0.0.1\" has no port; write PICLUSTER_LB_LISTEN=10.0.0.1:8080",
        ),
        (
            "web",
            "PICLUSTER_IPV6",
            "maybe",
            "=\"maybe\" is neither on nor off; write 1 or true, 0 or false",
        ),
        (
            "web",
            "PICLUSTER_ID",
            "Pi",
            "=\"Pi\" is no id: 1 to 32 lower case letters, digits and -; for example PICLUSTER_ID=pi-7",
        ),
        (
            "",
            "PICLUSTER_ROLE",
            "x",
            "=\"x\" is no role; write PICLUSTER_ROLE=web or PICLUSTER_ROLE=lb",
        ),
    ] {
        assert_eq!(refused(line, &[(var, value)]), format!("{var}{sentence}"));
    }
}

#[test]
fn applications_commands_and_folders_are_read_from_flags_and_variables() {
    let app = |line: &str, vars: Vars<'_>| match web(line, vars).serves {
        Serves::App(app) => app,
        other => panic!("{other:?}"),
    };
    for text in [":3000", "3000", "http://127.0.0.1:3000/", "localhost:3000", "http://[::1]:3000"] {
        let app = app(&format!("web --app {text}"), &[]);
        assert_eq!((app.ip, app.port, app.front), (None, Some(3000), false), "{text}");
        assert!(app.command.is_empty() && app.any_control_port);
    }
    let there = app("web --app http://10.0.0.5 --health tcp --listen :81", &[]);
    assert_eq!((there.ip, there.port), ("10.0.0.5".parse().ok(), Some(80)));
    assert!(there.health == AppHealth::Tcp && !there.any_control_port);

    let typed = app("web --front -- node server.js --role x", &[("PICLUSTER_WEB_EXEC", "other")]);
    assert_eq!((typed.port, typed.front), (None, true));
    assert_eq!(typed.command, ["node", "server.js", "--role", "x"]);
    let vars: Vars<'_> = &[
        ("PICLUSTER_WEB_EXEC", "sh -c 'exec php -S 0.0.0.0:$PORT'"),
        ("PICLUSTER_WEB_APP", ":3000"),
        ("PICLUSTER_WEB_HEALTH", "/up"),
        ("PICLUSTER_WEB_FRONT", "1"),
    ];
    let set = app("web", vars);
    assert_eq!(set.command, ["sh", "-c", "exec php -S 0.0.0.0:$PORT"]);
    assert_eq!((set.port, set.front), (Some(3000), true));
    assert_eq!(set.health, AppHealth::Path("/up".into()));

    let folder = PathBuf::from("public");
    let dir = |follow_symlinks| Serves::Dir(DirConfig { folder: folder.clone(), follow_symlinks });
    assert_eq!(web("web --dir public", &[]).serves, dir(false));
    assert_eq!(web("web --follow-symlinks", &[("PICLUSTER_WEB_DIR", "public")]).serves, dir(true));
    assert_eq!(web("web", &[]).serves, Serves::Name);
}

#[test]
fn flags_that_cannot_be_served_are_refused_in_one_sentence() {
    for (line, words) in [
        ("web --app :3000 --dir x", "--dir and --app cannot both"),
        ("web --dir x -- node x", "--dir and a command cannot both"),
        ("web --exec a -- b", "--exec and -- COMMAND cannot both"),
        ("web --exec 'a", "has a quote without its end"),
        ("web --app :0", "--app \":0\" has no port"),
        ("web --app https://127.0.0.1:1", "is HTTPS"),
        ("web --app ftp://127.0.0.1:1", "is no address"),
        ("web --app http://127.0.0.1:1/x", "has a path"),
        ("web --app nas.local:80", "names another machine"),
        ("web --app :3000 --health up", "--health \"up\" does not begin with a slash"),
        ("web --health /up", "--health is about an application"),
        ("web --front", "--front is about an application"),
        ("web --dir x --front", "leave it out beside --dir"),
        ("web --follow-symlinks", "add --dir"),
    ] {
        let text = refused(line, &[]);
        assert!(text.contains(words) && text.lines().count() == 1, "{line}: {text}");
    }
}

#[test]
fn typed_flags_of_an_application_take_the_place_of_set_variables() {
    let app: Vars<'_> = &[("PICLUSTER_WEB_APP", ":3000"), ("PICLUSTER_WEB_FRONT", "1")];
    let exec: Vars<'_> = &[("PICLUSTER_WEB_EXEC", "node x"), ("PICLUSTER_WEB_HEALTH", "/up")];
    let dir: Vars<'_> = &[("PICLUSTER_WEB_DIR", "x"), ("PICLUSTER_WEB_FOLLOW_SYMLINKS", "1")];
    for vars in [app, exec] {
        assert!(matches!(web("web --dir x", vars).serves, Serves::Dir(_)), "{vars:?}");
    }
    for line in ["web --app :3000", "web --exec x", "web -- x"] {
        assert!(matches!(web(line, dir).serves, Serves::App(_)), "{line}");
    }
    // A port and a command are of one application, from whichever source each comes.
    for (line, vars) in [("web --app :3000", exec), ("web -- node x", app), ("web --exec x", app)] {
        let Serves::App(both) = web(line, vars).serves else { panic!("{line}") };
        assert!(both.port == Some(3000) && !both.command.is_empty(), "{line}");
    }
    for (set, name) in [(app, "PICLUSTER_WEB_APP"), (exec, "PICLUSTER_WEB_EXEC")] {
        let text = refused("web", &[set, dir].concat());
        assert!(text.starts_with(&format!("PICLUSTER_WEB_DIR and {name} cannot both")), "{text}");
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let env = |name: &str| (name == "PICLUSTER_NAME").then(|| OsString::from_vec(vec![0xff]));
    let Err(Stop::Refused(text)) = parse(["picluster", "web"].map(OsString::from), &env) else {
        panic!()
    };
    assert_eq!(text, "picluster: PICLUSTER_NAME is not UTF-8; unset it or write it anew\n");
}

#[test]
fn nothing_typed_gets_the_commands_and_is_no_success() {
    assert_eq!(typed("", &[]).unwrap_err(), Stop::Refused(SHORT.to_owned()));
    assert_eq!(typed("", &[("PICLUSTER_ROLE", "")]).unwrap_err(), Stop::Refused(SHORT.to_owned()));
}

#[test]
fn a_drain_goes_to_this_machines_own_node_or_balancer_wherever_it_listens() {
    let ada = || Some("ada".to_owned());
    for (line, vars, at, node) in [
        ("drain", &[][..], "127.0.0.1:8080", None),
        ("undrain", &[("PICLUSTER_WEB_LISTEN", ":9000")][..], "127.0.0.1:9000", None),
        ("drain --port 81", &[("PICLUSTER_WEB_LISTEN", ":9000")], "127.0.0.1:81", None),
        ("drain", &[("PICLUSTER_WEB_LISTEN", "[::1]:80")], "[::1]:80", None),
        ("drain ada", &[("PICLUSTER_WEB_LISTEN", ":9000")], "127.0.0.1:7070", ada()),
        ("drain ada", &[("PICLUSTER_LB_ADMIN", "[::]:7171")], "127.0.0.1:7171", ada()),
        ("undrain ada --admin 7272", &[("PICLUSTER_LB_ADMIN", ":1")], "127.0.0.1:7272", ada()),
    ] {
        assert_eq!(drains(line, vars), (at.to_owned(), node), "{line} {vars:?}");
    }
    assert!(refused("drain ada --port 80", &[]).contains("this machine's own node"));
    assert!(refused("undrain --admin 80", &[]).contains("`picluster undrain NODE"));
}

#[test]
fn the_nodes_are_printed_in_one_form() {
    for (line, form) in [
        ("nodes", Form::Table),
        ("nodes --watch", Form::Watch),
        ("nodes --json", Form::Json),
        ("nodes --names --cluster red", Form::Names),
    ] {
        match typed(line, &[("PICLUSTER_CLUSTER", "red")]).unwrap().command {
            Command::Nodes(config) => {
                assert_eq!((config.form, config.survey.admin), (form, None), "{line}");
                assert_eq!(config.survey.discovery.cluster, "red");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused("nodes --watch --json", &[]).contains("choose one"));
}
