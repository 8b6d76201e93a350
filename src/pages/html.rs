//! The HTML that all pages share: escaping, the document around a body, and numbers as people write
//! them.

use std::borrow::Cow;

/// The style of all pages: system fonts and both colour schemes. It fetches nothing.
const COMMON_CSS: &str = include_str!("html/common.css");

/// The parts in which pages differ. `title` is text; all others are inserted without escaping.
#[derive(Debug)]
pub struct Page<'a> {
    /// The title, as text.
    pub title: &'a str,
    /// The `href` of the icon; never a path, for the reason in
    /// [`Badge::icon_href`](crate::pages::badge::Badge::icon_href).
    pub icon_href: &'a str,
    /// The seconds after which the browser loads the page again. If the page has a script, this
    /// holds only where scripts do not run. With `None` the reader decides.
    pub refresh_s: Option<u32>,
    /// A script for the end of the body. It must not contain `</script`.
    pub script: Option<&'a str>,
    /// The style sheet that follows the common one.
    pub css: &'a str,
    /// The HTML between `<body>` and `</body>`.
    pub body: &'a str,
}

impl Page<'_> {
    /// Returns the whole document.
    pub fn render(&self) -> String {
        let Self { icon_href, css, body, .. } = self;
        let title = escape(self.title);
        let refresh = self.refresh_s.map_or_else(String::new, |seconds| {
            let meta = format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">");
            match self.script {
                Some(_) => format!("<noscript>{meta}</noscript>\n"),
                None => meta + "\n",
            }
        });
        let script =
            self.script.map_or_else(String::new, |script| format!("<script>\n{script}</script>\n"));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n{refresh}<title>{title}</title>\n\
             <link rel=\"icon\" href=\"{icon_href}\">\n<style>\n{COMMON_CSS}{css}</style>\n\
             </head>\n<body>\n{body}\n{script}</body>\n</html>\n"
        )
    }
}

/// Makes a text safe between tags and in attributes in either kind of quotes.
pub fn escape(text: &str) -> Cow<'_, str> {
    let special = ['&', '<', '>', '"', '\''];
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Writes a span of time as people write it: `4 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Writes a count with its thousands apart: `41,230`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_name_stays_text() {
        assert_eq!(escape("<b a=\"1\" b='2'>&"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("pi-4"), "pi-4");
        let plain = Page {
            title: "<x>",
            icon_href: "data:,",
            refresh_s: Some(2),
            script: None,
            css: "",
            body: "",
        };
        assert!(plain.render().contains("<title>&lt;x&gt;</title>"));
        assert!(plain.render().contains("\n<meta http-equiv=\"refresh\""));
        let scripted = Page { script: Some("go()\n"), ..plain };
        assert!(scripted.render().contains("<noscript><meta http-equiv=\"refresh\""));
        assert!(scripted.render().contains("<script>\ngo()\n</script>\n</body>"));
    }

    #[test]
    fn thousands_have_commas_between_them() {
        assert_eq!([0, 999, 1_000, 95_771_000].map(grouped), ["0", "999", "1,000", "95,771,000"]);
    }

    #[test]
    fn spans_are_written_as_people_write_them() {
        let spoken = [4, 60, 3_599, 11_100, 187_200].map(span);
        assert_eq!(spoken, ["4 s", "1 min", "59 min", "3 h 5 min", "2 d 4 h"]);
    }
}
