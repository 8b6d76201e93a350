//! Holds `docs/METRICS.md`, and the dashboard beside it, to the metrics that the program exposes.
//! Only tests use it.

use std::collections::{BTreeMap, BTreeSet};

/// A family's type and the labels of its samples, by its name.
pub(crate) type Catalogue = BTreeMap<String, (String, BTreeSet<String>)>;

/// Returns the families that these sections of `docs/METRICS.md` document.
pub(crate) fn documented(sections: &[&str]) -> Catalogue {
    let text = include_str!("../../docs/METRICS.md");
    let mut catalogue = Catalogue::new();
    for section in text.split("\n## ").filter(|part| sections.iter().any(|s| part.starts_with(s))) {
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let mut cell = || cells.next().expect("a row of four cells");
            let (name, kind, labels) = (cell(), cell(), cell());
            let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            catalogue.insert(name.trim_matches('`').to_owned(), (kind.to_owned(), labels));
        }
    }
    catalogue
}

/// Returns the families of a page in Prometheus's text format. A family without a sample shows no
/// labels.
pub(crate) fn exposed(page: &str) -> Catalogue {
    let mut catalogue = Catalogue::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a name and a type");
            catalogue.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let (_, known) = catalogue.get_mut(family_of(name)).expect("a family comes first");
            let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            known.extend(pairs.map(|(key, _)| key.to_owned()).filter(|key| key != "le"));
        }
    }
    catalogue
}

/// Returns the family of a series. Only families of durations are histograms.
fn family_of(series: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|part| series.strip_suffix(part))
        .find(|family| family.ends_with("_seconds"))
        .unwrap_or(series)
}

#[test]
fn the_dashboard_asks_only_for_documented_metrics() {
    let dashboard = include_str!("../../docs/grafana.json");
    let json: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut queries = Vec::new();
    collect(&json, &mut queries);
    assert!(queries.len() > 10, "{queries:?}");
    let documented = documented(&["Both", "Boards", "Balancer", "Node"]);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for query in queries {
        let words = query.split(|c| !is_part(c));
        let mut names = words.filter(|w| w.starts_with("picluster_") || w.starts_with("process_"));
        let wrong = names.find(|name| !documented.contains_key(family_of(name)));
        assert_eq!(wrong, None, "{query}");
    }
}

/// Collects every query of a dashboard.
fn collect<'a>(json: &'a serde_json::Value, queries: &mut Vec<&'a str>) {
    match json {
        serde_json::Value::Object(fields) => {
            let named = ["expr", "query"].iter().filter_map(|name| fields.get(*name)?.as_str());
            queries.extend(named);
            fields.values().for_each(|value| collect(value, queries));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|v| collect(v, queries)),
        _ => {}
    }
}
