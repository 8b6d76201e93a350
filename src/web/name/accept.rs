//! What a client wants to see, by its `Accept` alone: no guess from the user agent.

/// The three forms of the node's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The name and a newline.
    Text,
    /// The facts.
    Json,
    /// The page.
    Html,
}

impl Form {
    /// The form with the highest weight, the first of equals; text when none is named. Wildcards
    /// name nothing: `curl` and `wget` send `*/*` and mean the plain text.
    pub(super) fn wanted(accept: &str) -> Self {
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
        assert_eq!(Form::wanted(chrome), Form::Html);
        assert_eq!(Form::wanted("TEXT/HTML; charset=utf-8"), Form::Html);
        for tool in ["", "*/*", "text/*", "image/png", "text/plain", ",;,q=", "text/html;q=0"] {
            assert_eq!(Form::wanted(tool), Form::Text, "{tool}");
        }
    }

    #[test]
    fn the_highest_weight_wins_and_the_first_of_equals() {
        assert_eq!(Form::wanted("application/json"), Form::Json);
        assert_eq!(Form::wanted("application/json, text/plain, */*"), Form::Json);
        assert_eq!(Form::wanted("text/html;q=0.4, application/json;q=0.5"), Form::Json);
        assert_eq!(Form::wanted("application/json;q=nan, text/html;q=0.1"), Form::Html);
    }
}
