//! The node's page: the name as large as it fits, in the node's own colour, so that the last row of a
//! classroom sees which node answered.

use std::fmt::Write;

use crate::cluster::api::{FactsReport, Power};
use crate::pages::badge::Badge;
use crate::pages::html::{Page, escape, grouped, span};

const CSS: &str = include_str!("page.css");

/// Renders the page of the node that goes by `title`.
pub(super) fn render(title: &str, facts: &FactsReport) -> String {
    let badge = Badge::of(&facts.id);
    let colour = badge.colour;
    let css = format!(
        ":root{{--paper:{};--accent:{}}}\n\
         @media (prefers-color-scheme:dark){{:root{{--paper:{}}}}}\n{CSS}",
        colour.light, colour.strong, colour.dark
    );
    let size = size(title);
    let (svg, title_html) = (badge.svg(), breakable(title));
    let via = facts.via.as_deref().map_or_else(String::new, |via| {
        format!("<p class=\"via\">served through <b>{}</b></p>\n", escape(via))
    });
    let next = match facts.via {
        Some(_) => "Reload to see who answers next.",
        None => "Asked directly. <code>picluster lb</code> on one Pi shares the work among all.",
    };
    let warning = match facts.power {
        Some(Power::Low) => {
            "<p class=\"warning\">&#9889; Under-voltage now: this Pi needs a better power supply or cable.</p>\n"
        }
        Some(Power::WasLow) => {
            "<p class=\"warning\">&#9889; Under-voltage since it started: a better power supply or cable would help.</p>\n"
        }
        Some(Power::Good) | None => "",
    };
    let facts_html = list(title, facts, badge);
    let body = format!(
        "<main>\n<div class=\"who\">{svg}<div>\n<h1 style=\"--chars:{size}\">{title_html}</h1>\n{via}</div></div>\n\
         {warning}<dl>\n{facts_html}</dl>\n</main>\n\
         <footer>{next}</footer>"
    );
    let page = Page {
        title,
        icon_href: &badge.icon_href(),
        refresh_s: None,
        script: None,
        css: &css,
        body: &body,
    };
    page.render()
}

/// The number of characters by which the style sheet divides the width: short names do not grow past the
/// page's height, long ones break instead of shrinking until nobody can read them.
fn size(title: &str) -> usize {
    title.chars().count().clamp(4, 16)
}

/// The name with marks where a line may end.
fn breakable(title: &str) -> String {
    escape(title).replace('-', "-<wbr>").replace('.', ".<wbr>")
}

/// The list of the facts that are known.
fn list(title: &str, facts: &FactsReport, badge: Badge) -> String {
    let mut html = String::with_capacity(1024);
    let mut put = |term: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(html, "<div><dt>{term}</dt><dd>{}</dd></div>", escape(&value));
        }
    };
    put("Node", (facts.name != title).then(|| facts.name.clone()));
    put("Badge", Some(badge.to_string()));
    put("Model", facts.model.clone());
    put("Address", facts.address.map(|addr| addr.to_string()));
    put("Requests served", Some(grouped(facts.requests)));
    put("Up", facts.uptime_s.map(span));
    put("Temperature", facts.temperature_c.map(|degrees| format!("{degrees:.0} °C")));
    put("Power", (facts.power == Some(Power::Good)).then(|| "good".to_owned()));
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::api::Schema;

    fn facts() -> FactsReport {
        FactsReport {
            schema: Schema,
            id: "b2fkq7aaaaaaa".into(),
            name: "raspberrypi-b2fkq7".into(),
            hostname: "raspberrypi".into(),
            boot: "0".repeat(16),
            model: Some("<script>alert(1)</script>".into()),
            address: "10.0.0.5:8080".parse().ok(),
            uptime_s: Some(90_000),
            serving_s: 1,
            temperature_c: Some(48.3),
            power: None,
            requests: 7,
            via: Some("<lb>".into()),
        }
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let page = render("<i>x</i>", &facts());
        assert!(page.contains("&lt;script&gt;") && page.contains("&lt;lb&gt;"));
        assert!(!page.contains("<script") && !page.contains("<i>"));
    }

    #[test]
    fn the_page_fetches_nothing() {
        let page = render("raspberrypi", &facts());
        let icon = page.find("rel=\"icon\" href=\"data:").expect("an icon of its own");
        assert!(icon > 0 && !page.contains("src=") && !page.contains("url("));
        assert!(page.len() < 8192, "{}", page.len());
    }

    #[test]
    fn the_page_does_not_show_an_unknown_fact() {
        let page = render("x", &FactsReport { temperature_c: None, ..facts() });
        assert!(!page.contains("Temperature") && !page.contains("<dt>Power"));
        let low = render("x", &FactsReport { power: Some(Power::Low), ..facts() });
        assert!(low.contains("Under-voltage now"));
    }
}
