//! What is said of a cluster: the document of `/api/v1/nodes`, and its twin made here.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::cluster::health::Health;
use crate::cluster::node::printable;
use crate::cluster::pi::Pi;
use crate::cluster::pool::{Member, Pool};
use crate::cluster::protocol::SCHEMA;

/// The longest sentence that is shown.
const SENTENCE_CHARS_MAX: usize = 200;

/// The nodes of a cluster. Texts in it can be printed anywhere.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document {
    schema: String,
    /// Which cluster.
    pub cluster: String,
    /// Its nodes, by name.
    pub nodes: Vec<Node>,
    /// What its services claim in vain.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

/// A route that two services name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// As a sentence.
    pub text: String,
}

/// One node. What nobody can tell is `None`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its machine's name.
    pub hostname: String,
    /// Where it takes requests.
    pub endpoint: String,
    /// A word of [`Health`].
    pub state: String,
    /// A sentence.
    pub why: String,
    /// For how long it is in this state.
    pub since_s: Option<f64>,
    /// Whether it is still announced.
    pub advertised: bool,
    /// Who says that it is there.
    pub source: String,
    /// Requests under way.
    pub inflight: Option<u32>,
    /// Answers begun.
    pub requests: Option<u64>,
    /// Attempts without a whole answer.
    pub failures: Option<u64>,
    /// 1 is a whole share of the rotation.
    pub weight: Option<f64>,
    /// Which application it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// For which hosts; none is any.
    pub hosts: Vec<String>,
    /// What lies here and below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it has less than a whole share, where that is not in `why`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_why: Option<String>,
    /// Answers a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Its part of all answers of late, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How its board is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pi: Option<Pi>,
}

impl Document {
    /// What a balancer said, read and as JSON. `None` if it is no such document.
    pub(super) fn read(body: &[u8]) -> Option<(Self, String)> {
        let mut document: Self = serde_json::from_slice(body).ok()?;
        (document.schema == SCHEMA).then_some(())?;
        document.cluster = printable(&document.cluster, 32);
        for node in &mut document.nodes {
            for word in [&mut node.id, &mut node.name, &mut node.hostname, &mut node.endpoint] {
                *word = printable(word, 63);
            }
            node.state = printable(&node.state, 16);
            node.why = sentence(&node.why);
            node.service = node.service.as_deref().map(|service| printable(service, 32));
            node.hosts.iter_mut().for_each(|host| *host = printable(host, 253));
            node.path = node.path.as_deref().map(|path| printable(path, 64));
            node.weight_why = node.weight_why.as_deref().map(sentence);
        }
        for conflict in &mut document.conflicts {
            conflict.text = sentence(&conflict.text);
        }
        Some((document, in_ascii(str::from_utf8(body).ok()?.trim_end())))
    }

    /// What the table here knows. Since when, and what of requests, it does not.
    pub(super) fn of(cluster: &str, pool: &Pool) -> Self {
        Self::of_nodes(cluster, pool.members().iter().map(|member| node(member)).collect())
    }

    pub(crate) fn of_nodes(cluster: &str, nodes: Vec<Node>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            cluster: cluster.to_owned(),
            nodes,
            conflicts: Vec::new(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        in_ascii(&serde_json::to_string(self).unwrap_or_default())
    }
}

fn node(member: &Member) -> Node {
    let Member { node, health, why, advertised, .. } = member;
    Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        hostname: node.hostname.clone(),
        endpoint: node.endpoint.to_string(),
        service: Some(node.offer.service.clone()),
        hosts: node.offer.hosts.clone(),
        path: Some(node.offer.path.clone()),
        state: health.as_str().to_owned(),
        why: sentence(why),
        advertised: *advertised,
        source: node.source.as_str().to_owned(),
        pi: member.pi.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        ..Node::default()
    }
}

impl Node {
    /// Whether it takes requests.
    pub fn is_up(&self) -> bool {
        self.state == Health::Up.as_str()
    }
}

/// A sentence made fit for a terminal: nothing in it moves the cursor or turns what follows around.
pub(crate) fn sentence(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '-' };
    text.chars().take(SENTENCE_CHARS_MAX).map(legal).collect()
}

/// The same JSON without a character that a terminal could obey: outside of ASCII and at its end
/// there are some, which JSON may hold, but only in strings.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text += &format!("\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_harmless() {
        let body = "{\"schema\":\"picluster/1\",\"cluster\":\"c\",\"nodes\":[{\"name\":\"a\\u001b[2J\",\
                    \"why\":\"\u{9b}2J k\u{fc}che \u{202e}\u{1f600}\"}]}\n";
        let (document, json) = Document::read(body.as_bytes()).unwrap();
        assert_eq!(document.nodes[0].name, "a-[2J");
        assert_eq!(document.nodes[0].why, "-2J k-che --");
        assert!(json.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{json}");
        let same: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(same, serde_json::from_str::<serde_json::Value>(body).unwrap());
    }

    #[test]
    fn what_is_no_such_document_is_none() {
        for body in ["", "{}", "[]", "{\"schema\":\"picluster/2\",\"cluster\":\"\",\"nodes\":[]}"] {
            assert!(Document::read(body.as_bytes()).is_none(), "{body}");
        }
        let empty = "{\"schema\":\"picluster/1\",\"cluster\":\"c\",\"nodes\":[{}]}";
        assert_eq!(Document::read(empty.as_bytes()).unwrap().0.nodes[0].inflight, None);
    }
}
