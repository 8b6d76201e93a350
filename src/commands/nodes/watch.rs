//! `picluster nodes --watch`: the table each second; on a terminal in place, elsewhere one below the other.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::hint;
use super::table::{Style, table};
use crate::commands::survey::{Survey, Surveyor, Unavailable};
use crate::os::shutdown::Shutdown;
use crate::os::terminal::{self, Screen, print};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(mut surveyor: Surveyor, mut shutdown: Shutdown) -> anyhow::Result<()> {
    let screen = Screen::take();
    let mut resized = signal(SignalKind::window_change())?;
    let mut beat = interval(EVERY);
    // After a slow answer the next second counts from that answer.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            Some(()) = resized.recv() => {}
            _ = beat.tick() => {
                tokio::select! {
                    () = shutdown.requested() => return Ok(()),
                    survey = surveyor.look() => seen = Some(survey),
                }
            }
        }
        let Some(seen) = &seen else { continue };
        let is_read = match &screen {
            Some(screen) => {
                let width = screen.size().0;
                screen.draw(&picture(
                    seen,
                    &Style { width: Some(width), colours: terminal::takes_colours() },
                ))?
            }
            None => {
                print(&(picture(seen, &Style { width: None, colours: false }).join("\n") + "\n\n"))?
            }
        };
        if !is_read {
            return Ok(());
        }
    }
}

/// The lines for what is known now. An error is shown and ends nothing: a network comes back.
fn picture(seen: &Result<Survey, Unavailable>, style: &Style) -> Vec<String> {
    let (mut lines, nodes) = match seen {
        Ok(survey) => (head(survey), &survey.document.view.nodes[..]),
        Err(Unavailable(why)) => (vec![why.clone()], &[][..]),
    };
    if let Some(width) = style.width {
        lines = lines.iter().flat_map(|line| wrapped(line, width)).collect();
    }
    lines.push(String::new());
    if !nodes.is_empty() {
        lines.extend(table(nodes, style));
    }
    lines
}

fn head(survey: &Survey) -> Vec<String> {
    let view = &survey.document.view;
    let (cluster, nodes) = (&view.cluster, &view.nodes);
    let of = match survey.balancer {
        Some(admin) => format!(", by {admin}"),
        None => String::new(),
    };
    let mut lines =
        vec![format!("cluster {cluster}{of}: {} of {} nodes up", view.nodes_up(), nodes.len())];
    lines.extend(survey.notes_on_nodes().map(str::to_owned));
    if nodes.is_empty() {
        lines.push(hint::no_node_yet(cluster));
    }
    lines
}

/// The text, broken between words where it is too long for the width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            let gap = if last.is_empty() { "" } else { " " };
            *last += &format!("{gap}{word}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_between_words() {
        assert_eq!(wrapped("no network yet: plug in", 12), ["no network", "yet: plug in"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
