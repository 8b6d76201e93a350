//! The tables: Markdown that is readable as it is.

use std::fmt::Write as _;

use crate::load::Errors;
use crate::product::Product;
use crate::rest::{CLIENTS, Kept};
use crate::results::{Ratio, Results};
use crate::turn::Turn;

/// All tables; the first one is what most readers want.
pub(crate) fn all(results: &[Results], kept: &[Kept], gaps: &[String]) -> String {
    let mut text = String::new();
    for gap in gaps {
        let _ = writeln!(text, "Not measured: {gap}\n");
    }
    if !results.is_empty() {
        text += "## CPU time of a request and p99, to HAProxy's\n\n";
        text += &summary(results);
    }
    if !kept.is_empty() {
        text += "\n## Memory\n\n";
        text += &memory(kept);
    }
    for result in results {
        let _ = write!(text, "\n## {}\n\n{}", result.workload.title, details(result));
    }
    text
}

fn summary(results: &[Results]) -> String {
    let titles =
        ["workload", "picluster, CPU", "nginx, CPU", "picluster, p99", "at half rate", "control"];
    let row = |result: &Results| {
        let ratio = |product, figure| show(&result.ratio(product, figure));
        let spread = result.control_spread();
        let spread = spread.map_or("none".to_owned(), |spread| format!("{:.0} %", spread * 100.0));
        vec![
            result.workload.title.to_owned(),
            ratio(Product::Picluster, Turn::cpu_us),
            ratio(Product::Nginx, Turn::cpu_us),
            ratio(Product::Picluster, Turn::p99_ms),
            ratio(Product::Picluster, Turn::paced_p99_ms),
            spread,
        ]
    };
    table(&titles, results.iter().map(row).collect())
}

fn show(ratio: &Ratio) -> String {
    ratio.as_ref().map_or("refused".to_owned(), |ratio| ratio.show("", 2))
}

fn memory(kept: &[Kept]) -> String {
    let with = format!("{CLIENTS} idle clients");
    let titles = ["balancer", "idle", &with, "each client"];
    let row = |kept: &Kept| {
        vec![
            kept.product.to_owned(),
            format!("{:.1} MiB", kept.idle_mib),
            format!("{:.1} MiB", kept.with_clients_mib),
            format!("{:.1} KiB", kept.client_kib()),
        ]
    };
    table(&titles, kept.iter().map(row).collect())
}

fn details(result: &Results) -> String {
    let titles = [
        "balancer",
        "CPU us",
        "user + sys",
        "to HAProxy's",
        "requests/s",
        "p50, p99, p99.9 ms",
        "half rate",
        "CPU us",
        "p50, p99, p99.9 ms",
        "resident",
        "failed",
    ];
    let row = |product: Product| {
        let median = |figure| result.median(product, figure);
        vec![
            product.name().to_owned(),
            result.spread(product, Turn::cpu_us).show("", 1),
            format!("{:.1} + {:.1}", median(|turn| turn.user_us), median(|turn| turn.sys_us)),
            show(&result.ratio(product, Turn::cpu_us)),
            format!("{:.0}", median(|turn| turn.saturated.per_second)),
            format!(
                "{:.2}, {:.2}, {:.2}",
                median(|turn| turn.saturated.p50_ms),
                median(Turn::p99_ms),
                median(|turn| turn.saturated.p999_ms)
            ),
            format!("{:.0}/s", median(Turn::paced_rate)),
            format!("{:.1}", median(Turn::paced_cpu_us)),
            format!(
                "{:.2}, {:.2}, {:.2}",
                median(Turn::paced_p50_ms),
                median(Turn::paced_p99_ms),
                median(Turn::paced_p999_ms)
            ),
            format!("{:.1} MiB", median(|turn| turn.resident_mib)),
            failed(result.requests(product)),
        ]
    };
    table(&titles, result.products().map(row).collect())
}

fn failed((all, errors): (u64, Errors)) -> String {
    let reasons = errors.iter().map(|(reason, count)| format!(", {count} x {reason}"));
    let reasons: String = reasons.collect();
    format!("{} of {all}{reasons}", errors.values().sum::<u64>())
}

fn table(titles: &[&str], rows: Vec<Vec<String>>) -> String {
    let titles: Vec<_> = titles.iter().map(|title| (*title).to_owned()).collect();
    let lines: Vec<_> = std::iter::once(titles).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<_> = (0..lines[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text += "|\n";
        }
    }
    text
}
