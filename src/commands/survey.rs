//! The cluster as it looks from any machine of its network: what its balancer says or, where none
//! answers, what nodes advertise and answer themselves.

mod document;
mod outlook;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

pub(crate) use self::document::sentence;
pub use self::document::{Document, Node};
use self::outlook::Outlook;
use crate::cluster::config::DiscoveryConfig;
use crate::cluster::protocol::{COUNTS_PATH, NODES_PATH};
use crate::commands::ask::{Unanswered, ask};
use crate::discovery::mdns;

/// How long nobody's answer is waited for: mDNS answers a question within 0.2 s, as a rule.
pub const BROWSE: Duration = Duration::from_millis(1500);

/// What to look at.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster, and where to listen for it.
    pub discovery: DiscoveryConfig,
    /// The balancer to ask; without it mDNS finds one.
    pub admin: Option<SocketAddr>,
}

/// What was seen.
#[derive(Debug)]
pub struct Survey {
    /// The balancer that said it; none if the nodes did.
    pub balancer: Option<SocketAddr>,
    /// How many balancers were heard of.
    pub balancers: usize,
    /// What was said.
    pub document: Document,
    /// The same as JSON.
    pub json: String,
    /// What whoever reads it should know of where it comes from, or does not.
    pub notes: Vec<String>,
}

impl Survey {
    /// The notes of whoever lists the nodes.
    pub fn notes_on_nodes(&self) -> impl Iterator<Item = &str> {
        let own = self.balancer.is_none() && !self.document.nodes.is_empty();
        let own = own.then_some("this is only what its nodes advertise and answer themselves");
        self.notes.iter().map(String::as_str).chain(own)
    }
}

/// Nothing can be said, and why.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Looks, and looks again.
pub struct Surveyor {
    settings: Settings,
    /// The balancer that answered last, of so many.
    known: Option<(SocketAddr, usize)>,
    /// Only while no balancer answers: it asks nodes all the time.
    outlook: Option<Outlook>,
}

impl Surveyor {
    /// Nothing is done yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, known: None, outlook: None }
    }

    /// Looks, which takes [`BROWSE`] and about a second more if no balancer answers.
    ///
    /// # Errors
    /// The balancer that was named does not answer, or nothing could be heard here.
    pub async fn look(&mut self) -> Result<Survey, Unavailable> {
        let cluster = &self.settings.discovery.cluster;
        if let Some(admin) = self.settings.admin {
            let asked = nodes(admin).await;
            return asked.map(|said| by_balancer(admin, 1, said)).map_err(|why| {
                Unavailable(format!(
                    "no balancer answers on {admin}: {why}; is `picluster lb` running there?"
                ))
            });
        }
        if let Some((admin, of)) = self.known
            && let Ok(said) = nodes(admin).await
            && said.0.cluster == *cluster
        {
            return Ok(by_balancer(admin, of, said));
        }
        self.known = None;
        let discovery = &self.settings.discovery;
        let outlook = self.outlook.get_or_insert_with(|| Outlook::start(discovery));
        if let Some((admin, of, said)) = outlook.balancer().await {
            (self.known, self.outlook) = (Some((admin, of)), None);
            return Ok(by_balancer(admin, of, said));
        }
        let document = outlook.nodes().await;
        let obstacle = mdns::obstacle(discovery).filter(|_| outlook.heard_nothing());
        if let Some(obstacle) = obstacle.filter(|_| document.nodes.is_empty()) {
            return Err(Unavailable(obstacle));
        }
        let (balancers, notes) = (outlook.balancers(), outlook.notes());
        Ok(Survey { balancer: None, balancers, json: document.to_json(), document, notes })
    }
}

fn by_balancer(admin: SocketAddr, of: usize, (document, json): Said) -> Survey {
    let several = (of > 1).then(|| {
        let cluster = &document.cluster;
        format!("{of} balancers serve the cluster {cluster}; this is what the one at {admin} says")
    });
    let conflicts = document.conflicts.iter().map(|conflict| conflict.text.clone());
    let notes = several.into_iter().chain(conflicts).collect();
    Survey { balancer: Some(admin), balancers: of, document, json, notes }
}

/// What a balancer said: read, and as it is.
type Said = (Document, String);

async fn nodes(admin: SocketAddr) -> Result<Said, Unanswered> {
    let answer = ask(admin, Method::GET, NODES_PATH).await?;
    let stranger = || Unanswered::Broken("it answers, but not as a balancer".to_owned());
    Document::read(&answer.body).ok_or_else(stranger)
}

/// How many requests clients saw fail, as a balancer counts them since it started.
pub async fn failed_requests(admin: SocketAddr) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        counts: Counts,
    }
    #[derive(Deserialize)]
    struct Counts {
        requests_failed: u64,
    }
    let answer = ask(admin, Method::GET, COUNTS_PATH).await.ok()?;
    serde_json::from_slice::<Answer>(&answer.body).ok().map(|said| said.counts.requests_failed)
}
