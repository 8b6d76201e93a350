//! `picluster nodes`: which nodes there are and how they are, from any machine of the network.

mod table;
mod watch;

use std::fmt::Write;

use self::table::{Style, table};
use crate::admin::empty_cluster_page;
use crate::commands::survey::{self, Survey, Surveyor};
use crate::os::shutdown::Shutdown;
use crate::os::terminal::{self, print, say};

/// `picluster nodes`.
#[derive(Clone, Debug)]
pub struct NodesConfig {
    /// Which cluster.
    pub survey: survey::Settings,
    /// In which form.
    pub form: Form,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table, once.
    Table,
    /// A table each second.
    Watch,
    /// The document of the API.
    Json,
    /// A name a line, and nothing else: for loops.
    Names,
}

/// Looks, and prints what is seen.
///
/// # Errors
/// Nothing can be seen (a [`survey::Unavailable`] inside), or standard output takes nothing.
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
    let nodes = &survey.document.nodes;
    let text = match config.form {
        Form::Json => format!("{}\n", survey.json),
        Form::Names => nodes.iter().fold(String::new(), |mut names, node| {
            // Writing to a String cannot fail.
            let _ = writeln!(names, "{}", node.name);
            names
        }),
        Form::Table | Form::Watch if nodes.is_empty() => {
            say(&empty(&survey));
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

/// No node: what to do about it.
fn empty(survey: &Survey) -> String {
    let cluster = &survey.document.cluster;
    format!(
        "The cluster {cluster} has no node yet. On any Pi of this network run:  {}",
        empty_cluster_page::command(cluster)
    )
}
