//! The form in which a client wants the page, by its `Accept` alone: no guess from the user agent.

/// A form of the node's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
    /// The name and a newline, as `text/plain`.
    Text,
    /// The facts, as `application/json`.
    Json,
    /// The page, as `text/html`.
    Html,
}

impl Representation {
    /// The form with the highest weight, the first of equals; text if none is named. A wildcard names no
    /// form: `curl` and `wget` send `*/*` and mean the plain text. `accept` holds all lines of the header,
    /// joined by commas.
    pub(super) fn preferred(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/html" => Self::Html,
                "application/json" => Self::Json,
                "text/plain" => Self::Text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_a_tool_the_text() {
        let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(Representation::preferred(chrome), Representation::Html);
        assert_eq!(Representation::preferred("TEXT/HTML; charset=utf-8"), Representation::Html);
        for tool in ["", "*/*", "text/*", "image/png", "text/plain", ",;,q=", "text/html;q=0"] {
            assert_eq!(Representation::preferred(tool), Representation::Text, "{tool}");
        }
    }

    #[test]
    fn the_highest_weight_wins_and_the_first_of_equals() {
        assert_eq!(Representation::preferred("application/json"), Representation::Json);
        assert_eq!(
            Representation::preferred("application/json, text/plain, */*"),
            Representation::Json
        );
        assert_eq!(
            Representation::preferred("text/html;q=0.4, application/json;q=0.5"),
            Representation::Json
        );
        assert_eq!(
            Representation::preferred("application/json;q=nan, text/html;q=0.1"),
            Representation::Html
        );
    }
}
