//! `picluster nodes`: lists the nodes and their states, from any machine of the network.

mod hint;
mod table;
mod watch;

use std::fmt::Write;

use self::table::{Style, table};
use crate::commands::survey::{SurveyConfig, Surveyor};
use crate::os::shutdown::Shutdown;
use crate::os::terminal::{self, print, say};

/// `picluster nodes`.
#[derive(Clone, Debug)]
pub struct NodesConfig {
    /// The cluster to look at.
    pub survey: SurveyConfig,
    /// The form of the list.
    pub form: Form,
}

/// The form of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table, once.
    Table,
    /// A table each second.
    Watch,
    /// The document of the API, as JSON.
    Json,
    /// One name on each line, and nothing else: for loops.
    Names,
}

/// Looks, and prints the nodes.
///
/// # Errors
/// Nothing can be seen of the cluster (an [`Unavailable`] inside), or standard output cannot be written.
///
/// [`Unavailable`]: crate::commands::survey::Unavailable
pub async fn run(config: NodesConfig, mut shutdown: Shutdown) -> anyhow::Result<()> {
    let mut surveyor = Surveyor::new(config.survey);
    if config.form == Form::Watch {
        return watch::run(surveyor, shutdown).await;
    }
    let survey = tokio::select! {
        survey = surveyor.look() => survey?,
        () = shutdown.requested() => return Ok(()),
    };
    survey.notes_on_nodes().for_each(|note| say(&format!("picluster: {note}")));
    let nodes = &survey.document.view.nodes;
    let text = match config.form {
        Form::Json => format!("{}\n", survey.document.json),
        Form::Names => nodes.iter().fold(String::new(), |mut names, node| {
            // Writing to a String cannot fail.
            let _ = writeln!(names, "{}", node.name);
            names
        }),
        Form::Table | Form::Watch if nodes.is_empty() => {
            say(&hint::no_node_yet(&survey.document.view.cluster));
            return Ok(());
        }
        Form::Table | Form::Watch => {
            let style = Style { width: None, colours: terminal::takes_colours() };
            table(nodes, &style).join("\n") + "\n"
        }
    };
    print(&text)?;
    Ok(())
}
