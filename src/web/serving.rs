//! The content of a node: its name, the files of a folder, or an application of this machine.

use std::sync::Arc;

use super::app::{self, App};
use super::files::Files;
use crate::cluster::config::{AppConfig, Serves, WebConfig};

/// The content that the node serves. It is made once, from the configuration.
#[derive(Debug)]
pub(super) enum Serving {
    /// The name of this machine.
    Name,
    /// The files of a folder.
    Files(Files),
    /// An application beside the node, to which clients and balancers connect themselves. The node serves
    /// its health, and its name, on a port of its own.
    Direct(Arc<App>),
    /// An application behind the node, which passes requests on to it.
    Front(Arc<App>),
}

impl Serving {
    /// Makes the content that is configured. The port of a command is chosen here if none is given.
    ///
    /// # Errors
    /// The cause is an `Unusable` if the folder or the application cannot be served, and a `ListenError` if
    /// the port of the command is taken.
    pub(super) fn new(config: &WebConfig) -> anyhow::Result<Self> {
        let app = |app: &AppConfig| -> anyhow::Result<_> {
            let port = match (app.port, app.command.is_empty()) {
                (Some(port), true) => port,
                (given, _) => app::free_port(given)?,
            };
            let stays_here = app.front || config.discovery.loopback;
            Ok(Arc::new(App::new(app, port, stays_here)?))
        };
        Ok(match &config.serves {
            Serves::Name => Self::Name,
            Serves::Dir(dir) => Self::Files(Files::new(dir)?),
            Serves::App(behind) if behind.front => Self::Front(app(behind)?),
            Serves::App(beside) => Self::Direct(app(beside)?),
        })
    }

    /// The application, if one is served.
    pub(super) fn app(&self) -> Option<&Arc<App>> {
        match self {
            Self::Direct(app) | Self::Front(app) => Some(app),
            Self::Name | Self::Files(_) => None,
        }
    }
}
