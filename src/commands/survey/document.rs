//! The nodes of a cluster, made fit for a terminal: read from the document of `/api/v1/nodes`, or filled
//! from a table of our own.

use std::sync::PoisonError;

use crate::cluster::api::{ClusterView, NodeView, Schema};
use crate::cluster::node::printable;
use crate::cluster::pool::{Member, Pool};

/// The longest sentence that is shown, in characters.
const SENTENCE_CHARS_MAX: usize = 200;

/// The nodes of a cluster, in two forms.
#[derive(Debug)]
pub struct Document {
    /// As values. The names and sentences in it can be printed anywhere.
    pub view: ClusterView,
    /// As JSON in ASCII. That of a balancer is whole: it has the keys that are not in `view` as well.
    pub json: String,
}

impl Document {
    /// Reads the answer of a balancer. `None` if it is no such document.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut view: ClusterView = serde_json::from_slice(body).ok()?;
        make_printable(&mut view);
        let json = in_ascii(str::from_utf8(body).ok()?.trim_end());
        Some(Self { view, json })
    }

    /// The nodes of a table of our own. It has neither the time of a state nor any count of requests.
    pub(super) fn from_pool(cluster: &str, pool: &Pool) -> Self {
        let view = ClusterView {
            schema: Schema,
            cluster: cluster.to_owned(),
            nodes: pool.members().iter().map(|member| node(member)).collect(),
            conflicts: Vec::new(),
        };
        let json = in_ascii(&serde_json::to_string(&view).unwrap_or_default());
        Self { view, json }
    }
}

fn make_printable(view: &mut ClusterView) {
    view.cluster = printable(&view.cluster, 32);
    for node in &mut view.nodes {
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
    for conflict in &mut view.conflicts {
        conflict.text = sentence(&conflict.text);
    }
}

fn node(member: &Member) -> NodeView {
    let Member { node, health, why, advertised, .. } = member;
    NodeView {
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
        ..NodeView::default()
    }
}

/// A sentence made fit for a terminal: nothing in it moves the cursor or turns what follows around.
pub(crate) fn sentence(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '-' };
    text.chars().take(SENTENCE_CHARS_MAX).map(legal).collect()
}

/// The same JSON without a character that a terminal could obey. Such characters are outside of ASCII
/// or at its end; JSON may hold them, but only in strings, where an escape means the same.
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
    fn characters_that_a_terminal_would_obey_are_made_harmless() {
        let body = "{\"schema\":\"picluster/1\",\"cluster\":\"c\",\"nodes\":[{\"name\":\"a\\u001b[2J\",\
                    \"why\":\"\u{9b}2J k\u{fc}che \u{202e}\u{1f600}\"}]}\n";
        let Document { view, json } = Document::read(body.as_bytes()).unwrap();
        assert_eq!(view.nodes[0].name, "a-[2J");
        assert_eq!(view.nodes[0].why, "-2J k-che --");
        assert!(json.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{json}");
        let same: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(same, serde_json::from_str::<serde_json::Value>(body).unwrap());
    }

    #[test]
    fn another_document_is_read_as_none() {
        for body in ["", "{}", "[]", "{\"schema\":\"picluster/2\",\"cluster\":\"\",\"nodes\":[]}"] {
            assert!(Document::read(body.as_bytes()).is_none(), "{body}");
        }
        let empty = "{\"schema\":\"picluster/1\",\"cluster\":\"c\",\"nodes\":[{}]}";
        assert_eq!(Document::read(empty.as_bytes()).unwrap().view.nodes[0].inflight, None);
    }
}
