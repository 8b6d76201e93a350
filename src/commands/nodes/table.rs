//! The table of nodes: as wide as its contents, within 80 columns for names and addresses of the
//! usual length. Below a node that is not used as usual stands the reason.

use crate::cluster::api::NodeView;
use crate::cluster::health::Health;
use crate::os::terminal::Colour;

/// The width and the colours of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Lines are cut to this many characters.
    pub(super) width: Option<usize>,
    pub(super) colours: bool,
}

/// The least width of a name that has to make room.
const NAME_MIN: usize = 12;

/// One column: its title, and a text for each node that has one.
struct Column {
    title: &'static str,
    cells: Vec<Option<String>>,
    /// Numbers are aligned at the right.
    right: bool,
    width: usize,
}

impl Column {
    fn new(
        title: &'static str,
        right: bool,
        nodes: &[NodeView],
        cell: impl Fn(&NodeView) -> Option<String>,
    ) -> Self {
        let cells: Vec<_> = nodes.iter().map(cell).collect();
        let widest = cells.iter().flatten().map(String::len).max().unwrap_or(0);
        Self { title, right, width: widest.max(title.len()), cells }
    }

    /// A text cut or filled to the width of the column.
    fn fit(&self, text: &str) -> String {
        let width = self.width;
        let text = cut(text, Some(width));
        if self.right { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

/// The lines of the table.
pub(super) fn table(nodes: &[NodeView], style: &Style) -> Vec<String> {
    let mut columns = columns(nodes);
    if let Some(width) = style.width {
        let all: usize = columns.iter().map(|column| column.width + 1).sum();
        let name = &mut columns[0].width;
        let least = NAME_MIN.min(*name);
        *name = name.saturating_sub((all - 1).saturating_sub(width)).max(least);
    }
    let row = |cells: Vec<String>| cut(cells.join(" ").trim_end(), style.width);
    let mut lines = vec![row(columns.iter().map(|column| column.fit(column.title)).collect())];
    for (at, node) in nodes.iter().enumerate() {
        let cell = |column: &Column| column.fit(column.cells[at].as_deref().unwrap_or("-"));
        let line = row(columns.iter().map(cell).collect());
        // The state is the second column.
        let from = (columns[0].width + 1).min(line.len());
        let to = (from + columns[1].width).min(line.len());
        let state = colour(node).paint(&line[from..to], style.colours);
        lines.push(format!("{}{state}{}", &line[..from], &line[to..]));
        let less = node.weight.is_some_and(|weight| weight < 1.0);
        let less = less.then_some(node.weight_why.as_ref().unwrap_or(&node.why));
        if let Some(why) = less.filter(|_| node.is_up()).or((!node.is_up()).then_some(&node.why)) {
            lines.push(cut(&format!("  {why}"), style.width));
        }
    }
    lines
}

/// The columns, without those of which nothing is known.
fn columns(nodes: &[NodeView]) -> Vec<Column> {
    // If all nodes serve the same service, its name adds nothing.
    let several = nodes.iter().any(|node| node.service != nodes[0].service);
    let all: u64 = nodes.iter().filter_map(|node| node.requests).sum();
    let share = |node: &NodeView| {
        let lately = node.share;
        lately.or_else(|| (all > 0).then_some(node.requests? as f64 / all as f64))
    };
    let columns = [
        Column::new("NAME", false, nodes, |node| Some(node.name.clone())),
        Column::new("STATE", false, nodes, |node| Some(format!("{} {}", sign(node), node.state))),
        Column::new("SINCE", true, nodes, |node| node.since_s.map(|since| short(since as u64))),
        Column::new("REQ/S", true, nodes, |node| node.rate.map(|rate| format!("{rate:.1}"))),
        Column::new("SHARE", true, nodes, |node| {
            share(node).map(|share| format!("{:.0}%", share * 100.0))
        }),
        Column::new("IN-FLIGHT", true, nodes, |node| node.inflight.map(|n| n.to_string())),
        Column::new("SERVICE", false, nodes, |node| node.service.clone().filter(|_| several)),
        Column::new("ADDRESS", false, nodes, |node| Some(node.endpoint.clone())),
    ];
    columns.into_iter().filter(|column| column.cells.iter().any(Option::is_some)).collect()
}

/// The text cut to a width. It is ASCII, as every text of a survey is.
fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.len() > width => format!("{}..", &text[..width.saturating_sub(2)]),
        _ => text.to_owned(),
    }
}

/// The sign of a state, so that it is seen without colour and without reading. ASCII, because a console
/// has little else.
fn sign(node: &NodeView) -> char {
    match Health::parse(&node.state) {
        Some(Health::Up) => '+',
        Some(Health::Starting) => '.',
        Some(Health::Suspect) => '?',
        Some(Health::Draining) => '~',
        Some(Health::Ejected) => '!',
        Some(Health::Down) | None => 'x',
    }
}

fn colour(node: &NodeView) -> Colour {
    match Health::parse(&node.state) {
        Some(Health::Up) => Colour::Green,
        Some(Health::Starting | Health::Suspect | Health::Draining) => Colour::Yellow,
        Some(Health::Ejected | Health::Down) | None => Colour::Red,
    }
}

/// A span in its largest unit: `5s`, `12m`, `3h`, `8d`.
fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, state: &str, why: &str) -> NodeView {
        NodeView {
            name: name.to_owned(),
            endpoint: "192.168.178.31:8080".to_owned(),
            state: state.to_owned(),
            why: why.to_owned(),
            since_s: Some(3725.4),
            inflight: Some(2),
            requests: Some(500),
            rate: Some(41.25),
            weight: Some(1.0),
            ..NodeView::default()
        }
    }

    fn cluster() -> Vec<NodeView> {
        vec![
            node("raspberrypi-b2fkq7", "up", "answered the last probe"),
            NodeView {
                weight: Some(0.25),
                ..node("bob", "up", "answers again; gets 25 % of its share for now")
            },
            NodeView { rate: Some(0.0), ..node("eve", "draining", "drained here") },
            NodeView {
                share: Some(0.0),
                ..node("ken", "down", "connection refused on 192.168.178.31:8080, 12 tries")
            },
            node("joan", "ejected", "the last 5 requests were answered with a 5xx; out for 30 s"),
        ]
    }

    #[test]
    fn a_table_fits_eighty_columns_and_says_why_below() {
        let lines = table(&cluster(), &Style { width: None, colours: false });
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn without_a_balancer_there_are_only_columns_that_something_is_known_of() {
        let known = |node: NodeView| NodeView {
            name: node.name,
            state: node.state,
            why: node.why,
            endpoint: node.endpoint,
            ..NodeView::default()
        };
        let nodes: Vec<_> = cluster().into_iter().map(known).collect();
        let lines = table(&nodes, &Style { width: None, colours: false });
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_narrow_screen_cuts_names_first_and_then_all_else() {
        let mut nodes = cluster();
        nodes[0].name = "a-machine-with-a-long-name-of-its-own-b2fkq7".to_owned();
        for width in [80, 60, 40, 20, 1] {
            let lines = table(&nodes, &Style { width: Some(width), colours: false });
            assert!(lines.iter().all(|line| line.len() <= width.max(2)), "{width}: {lines:#?}");
        }
        let lines = table(&nodes, &Style { width: Some(72), colours: false });
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn colours_are_around_the_state_alone() {
        let nodes = [node("ada", "up", ""), node("ken", "down", "silent")];
        let lines = table(&nodes, &Style { width: Some(80), colours: true });
        assert!(lines[1].contains("\x1b[32m+ up  \x1b[0m"), "{lines:?}");
        assert!(lines[2].contains("\x1b[31mx down\x1b[0m"), "{lines:?}");
    }
}
