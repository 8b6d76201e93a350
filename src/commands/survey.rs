//! The cluster as it looks from any machine of its network: the answer of its balancer or, if none
//! answers, the advertisements and the answers of its nodes.

pub(crate) mod balancer;
mod document;
mod outlook;

use std::fmt;
use std::net::SocketAddr;

pub use self::document::Document;
pub(crate) use self::document::sentence;
use self::outlook::{Answered, Outlook};
use crate::cluster::config::DiscoveryConfig;
use crate::discovery::mdns;

/// The cluster to look at.
#[derive(Clone, Debug)]
pub struct SurveyConfig {
    /// The cluster, and where to listen for it.
    pub discovery: DiscoveryConfig,
    /// The balancer to ask; without it mDNS finds one.
    pub admin: Option<SocketAddr>,
}

/// One look at a cluster.
#[derive(Debug)]
pub struct Survey {
    /// The balancer that answered; `None` if the nodes did.
    pub balancer: Option<SocketAddr>,
    /// The number of balancers that were heard of.
    pub balancers: usize,
    /// The nodes.
    pub document: Document,
    /// The origin and the gaps of the document, as far as its reader has to know them, a sentence each.
    pub notes: Vec<String>,
}

impl Survey {
    /// The notes for a list of the nodes.
    pub fn notes_on_nodes(&self) -> impl Iterator<Item = &str> {
        let own = self.balancer.is_none() && !self.document.view.nodes.is_empty();
        let own = own.then_some("this is only what its nodes advertise and answer themselves");
        self.notes.iter().map(String::as_str).chain(own)
    }
}

/// Nothing can be seen of the cluster; the reason, as a sentence without its end.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Looks at a cluster, as often as it is asked to.
pub struct Surveyor {
    config: SurveyConfig,
    /// The balancer that answered last, and the number of balancers then.
    known: Option<(SocketAddr, usize)>,
    /// Only while no balancer answers, because it probes nodes all the time.
    outlook: Option<Outlook>,
}

impl Surveyor {
    /// Nothing is sent before the first [`look`](Self::look).
    pub fn new(config: SurveyConfig) -> Self {
        Self { config, known: None, outlook: None }
    }

    /// Looks once. If no balancer answers, this takes 1.5 s of listening and about a second more.
    ///
    /// # Errors
    /// The balancer that was named does not answer, or nothing could be heard on this machine.
    pub async fn look(&mut self) -> Result<Survey, Unavailable> {
        let cluster = &self.config.discovery.cluster;
        if let Some(admin) = self.config.admin {
            let document = balancer::nodes(admin).await.map_err(|why| {
                Unavailable(format!(
                    "no balancer answers on {admin}: {why}; is `picluster lb` running there?"
                ))
            })?;
            return Ok(by_balancer(Answered { admin, balancers: 1, document }));
        }
        if let Some((admin, balancers)) = self.known
            && let Ok(document) = balancer::nodes(admin).await
            && document.view.cluster == *cluster
        {
            return Ok(by_balancer(Answered { admin, balancers, document }));
        }
        self.known = None;
        self.look_around().await
    }

    /// Listens for a balancer and asks it, else reports the nodes that were heard of.
    async fn look_around(&mut self) -> Result<Survey, Unavailable> {
        let discovery = &self.config.discovery;
        let outlook = self.outlook.get_or_insert_with(|| Outlook::start(discovery));
        if let Some(answered) = outlook.balancer().await {
            (self.known, self.outlook) = (Some((answered.admin, answered.balancers)), None);
            return Ok(by_balancer(answered));
        }
        let document = outlook.nodes().await;
        let obstacle = mdns::obstacle(discovery).filter(|_| outlook.heard_nothing());
        if let Some(obstacle) = obstacle.filter(|_| document.view.nodes.is_empty()) {
            return Err(Unavailable(obstacle));
        }
        let (balancers, notes) = (outlook.balancers(), outlook.notes());
        Ok(Survey { balancer: None, balancers, document, notes })
    }
}

fn by_balancer(answered: Answered) -> Survey {
    let Answered { admin, balancers, document } = answered;
    let several = (balancers > 1).then(|| {
        let cluster = &document.view.cluster;
        format!(
            "{balancers} balancers serve the cluster {cluster}; this is what the one at {admin} says"
        )
    });
    let conflicts = document.view.conflicts.iter().map(|conflict| conflict.text.clone());
    let notes = several.into_iter().chain(conflicts).collect();
    Survey { balancer: Some(admin), balancers, document, notes }
}
