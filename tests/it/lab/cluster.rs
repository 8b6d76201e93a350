//! Our own programs on Pis, and the cluster as the balancer's API reports it.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::process::Spec;
use super::{PATIENCE, Pi, Process, pause, wait_until};

/// A `picluster` command line before its start.
pub(crate) struct Start<P> {
    pi: Pi,
    spec: Spec,
    kind: PhantomData<P>,
}

/// A running `picluster lb`.
pub(crate) struct Balancer {
    process: Process,
}

/// One node in the answer of `/api/v1/nodes`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) state: String,
    pub(crate) why: String,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

impl<P: From<Process>> Start<P> {
    pub(super) fn new(pi: &Pi, role: &str, port: u16) -> Self {
        let argv = vec![env!("CARGO_BIN_EXE_picluster").to_owned(), role.to_owned()];
        let spec = Spec { argv, port, ..Spec::default() };
        Self { pi: pi.clone(), spec, kind: PhantomData }
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.spec.argv.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Gives the node the name of its Pi.
    pub(crate) fn named(self) -> Self {
        let name = self.pi.name().to_owned();
        self.args(&["--name", &name])
    }

    /// Puts it in another cluster by an environment variable.
    pub(crate) fn cluster(mut self, cluster: &str) -> Self {
        self.spec.env.push(("PICLUSTER_CLUSTER".to_owned(), cluster.to_owned()));
        self
    }

    /// Sends its requests to an application on this port.
    pub(crate) fn served_at(mut self, port: u16) -> Self {
        self.spec.port = port;
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.spec.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it from a shell that runs this script first, in the namespaces of the program.
    pub(crate) fn after(mut self, script: &str) -> Self {
        let script = format!("{script}\nexec \"$@\"");
        self.spec.argv.splice(0..0, ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
        self
    }

    /// Starts it and waits for nothing.
    pub(crate) fn start(self) -> P {
        Process::start(&self.pi, self.spec).into()
    }
}

impl From<Process> for Balancer {
    fn from(process: Process) -> Self {
        Self { process }
    }
}

impl Deref for Balancer {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Balancer {
    /// The program itself.
    pub(crate) fn process(&self) -> Process {
        self.process.clone()
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.endpoint())
    }

    /// The URL of a path on the admin port.
    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", SocketAddr::new(self.pi().ip(), 7070))
    }

    /// Waits until its admin port answers.
    pub(crate) fn wait_until_it_answers(&self) {
        let answers = || self.pi().site().get(&self.admin("/healthz"), &[]).is_ok();
        wait_until("the balancer's admin port", answers);
    }

    /// All nodes that the balancer knows; none while the API does not answer.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let answer = self.pi().site().get(&self.admin("/api/v1/nodes"), &[]);
        let Ok(answer) = answer else { return Vec::new() };
        let nodes: Result<Nodes, _> = serde_json::from_str(&answer.body);
        nodes.unwrap_or_else(|error| panic!("/api/v1/nodes: {error}: {}", answer.body)).nodes
    }

    /// The value of one of the balancer's counters.
    pub(crate) fn count(&self, table: &str, word: &str) -> u64 {
        let answer = self.pi().site().get(&self.admin("/api/v1/counts"), &[]);
        let answer = answer.expect("the admin port answers");
        let json: serde_json::Value = serde_json::from_str(&answer.body).expect("it is JSON");
        json["counts"][table][word].as_u64().unwrap_or_default()
    }

    /// The node at a program's present endpoint.
    pub(crate) fn node(&self, program: &Process) -> Option<Node> {
        let endpoint = program.endpoint().to_string();
        self.nodes().into_iter().find(|node| node.endpoint == endpoint)
    }

    /// The name of a program in the cluster. Waits until the program is up.
    pub(crate) fn name_of(&self, program: &Process) -> String {
        self.wait_until_up(program, PATIENCE);
        self.node(program).expect("it is up").name
    }

    /// Waits until exactly `count` nodes are known and all of them are up.
    pub(crate) fn wait_for_nodes(&self, count: usize) -> Vec<Node> {
        self.wait_for(&format!("{count} nodes, all up"), PATIENCE, |nodes| {
            nodes.len() == count && nodes.iter().all(Node::is_up)
        });
        self.nodes()
    }

    /// Waits until a program's present endpoint is up. Returns how long that took.
    pub(crate) fn wait_until_up(&self, program: &Process, within: Duration) -> Duration {
        let endpoint = program.endpoint().to_string();
        self.wait_for(&format!("{endpoint} up"), within, |nodes| {
            nodes.iter().any(|node| node.endpoint == endpoint && node.is_up())
        })
    }

    /// Waits until a program's present endpoint takes no requests. Returns how long that took.
    pub(crate) fn wait_until_out(&self, program: &Process, within: Duration) -> Duration {
        let endpoint = program.endpoint().to_string();
        self.wait_for(&format!("{endpoint} out of the rotation"), within, |nodes| {
            !nodes.iter().any(|node| node.endpoint == endpoint && node.is_up())
        })
    }

    /// Waits until the list of nodes fulfils a condition. Returns how long that took.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&[Node]) -> bool,
    ) -> Duration {
        let began = Instant::now();
        loop {
            let nodes = self.nodes();
            if holds(&nodes) {
                return began.elapsed();
            }
            assert!(began.elapsed() < within, "waited {within:?} for {what}, there is {nodes:#?}");
            pause(Duration::from_millis(25));
        }
    }
}

impl Node {
    /// Returns whether the node takes requests.
    pub(crate) fn is_up(&self) -> bool {
        self.state == "up"
    }
}
