//! What a client has already and what part it wants: tags, dates and ranges (RFC 9110 sections 13 and 14).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, header};

/// An entity tag, of the second a file was changed and its length: copies on several nodes have the same.
pub(super) struct Tag(String);

impl Tag {
    pub(super) fn new(modified: SystemTime, bytes: u64, encoding: Option<&str>) -> Self {
        let dash = if encoding.is_some() { "-" } else { "" };
        Self(format!("\"{:x}-{bytes:x}{dash}{}\"", seconds(modified), encoding.unwrap_or_default()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What of a file is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    Whole,
    /// From the first of these bytes to before the second.
    Part(u64, u64),
    /// It was asked for what is behind its end.
    Nothing,
}

/// Whether the client wants the file only as it no longer is (RFC 9110 sections 13.1.1 and 13.1.4).
pub(super) fn is_another(asked: &HeaderMap, tag: &Tag, modified: SystemTime) -> bool {
    match named(asked, header::IF_MATCH, |one| one == tag.0) {
        Some(is_it) => !is_it,
        None => date(asked, header::IF_UNMODIFIED_SINCE)
            .is_some_and(|since| seconds(modified) > seconds(since)),
    }
}

/// Whether the client has the file as it is.
pub(super) fn has_it(asked: &HeaderMap, tag: &Tag, modified: SystemTime) -> bool {
    named(asked, header::IF_NONE_MATCH, |one| one.trim_start_matches("W/") == tag.0).unwrap_or_else(
        || {
            date(asked, header::IF_MODIFIED_SINCE)
                .is_some_and(|since| seconds(modified) <= seconds(since))
        },
    )
}

/// Whether a list of tags names the file; `None` if there is no such list.
fn named(asked: &HeaderMap, list: HeaderName, is_it: impl Fn(&str) -> bool) -> Option<bool> {
    let mut lists = asked.get_all(list).iter().peekable();
    lists.peek()?;
    let tags = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let mut tags = tags.map(str::trim);
    Some(tags.any(|tag| tag == "*" || is_it(tag)))
}

fn date(asked: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(asked, name)?).ok()
}

/// What part is asked for. More than one at once is answered with the whole, as section 14.2 allows.
pub(super) fn span(asked: &HeaderMap, tag: &Tag, modified: SystemTime, bytes: u64) -> Span {
    let range = text(asked, header::RANGE).and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return Span::Whole;
    };
    let is_for_another = text(asked, header::IF_RANGE).is_some_and(|known| {
        let date = httpdate::parse_http_date(known).ok();
        known != tag.0 && date.is_none_or(|date| seconds(date) != seconds(modified))
    });
    if is_for_another {
        return Span::Whole;
    }
    let (from, to) = match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
        (Some(first), None) if last.is_empty() => (first, bytes),
        (None, Some(last)) if first.is_empty() => (bytes.saturating_sub(last), bytes),
        _ => return Span::Whole,
    };
    if from < to { Span::Part(from, to) } else { Span::Nothing }
}

/// A number of bytes; one that is too large to count is as good as the largest, because no file is as long.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Whether a list of `Accept-Encoding` names it, and not with a weight of 0.
pub(super) fn accepts(list: &str, encoding: &str) -> bool {
    list.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        is_it && weight.and_then(|q| q.parse::<f32>().ok()).is_none_or(|q| q > 0.0)
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// As dates in headers have it: without fractions.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn each_form_of_a_range_has_its_part() {
        let (tag, then) = (Tag::new(UNIX_EPOCH, 10, None), UNIX_EPOCH);
        for (range, part) in [
            ("bytes=0-0", Span::Part(0, 1)),
            ("bytes=2-", Span::Part(2, 10)),
            ("bytes=2-99", Span::Part(2, 10)),
            ("bytes=-3", Span::Part(7, 10)),
            ("bytes=-99", Span::Part(0, 10)),
            ("bytes=10-", Span::Nothing),
            ("bytes=-0", Span::Nothing),
            ("bytes=5-2", Span::Whole),
            ("bytes=0-1,3-4", Span::Whole),
            ("bytes=x-", Span::Whole),
            ("lines=0-1", Span::Whole),
            ("bytes=18446744073709551615-", Span::Nothing),
            ("bytes=0-18446744073709551615", Span::Part(0, 10)),
            ("bytes=0-99999999999999999999999999", Span::Part(0, 10)),
            ("bytes=-99999999999999999999", Span::Part(0, 10)),
            ("bytes=99999999999999999999-", Span::Nothing),
            ("bytes=99999999999999999999-99999999999999999999", Span::Nothing),
            ("bytes=12-14", Span::Nothing),
            ("bytes=12-x", Span::Whole),
            ("bytes=+1-", Span::Whole),
            ("bytes=-", Span::Whole),
        ] {
            assert_eq!(span(&headers("range", range), &tag, then, 10), part, "{range}");
        }
        assert_eq!(span(&headers("range", "bytes=-1"), &tag, then, 0), Span::Nothing);
    }

    #[test]
    fn a_client_that_has_a_file_is_not_sent_it_again() {
        let changed = UNIX_EPOCH + Duration::from_millis(1_500);
        let tag = Tag::new(changed, 10, None);
        let has = |name, value: &str| has_it(&headers(name, value), &tag, changed);
        assert!(has("if-none-match", "\"1-a\"") && has("if-none-match", "\"x\", W/\"1-a\""));
        assert!(has("if-none-match", "*") && !has("if-none-match", "\"1-b\""));
        assert!(has("if-modified-since", "Thu, 01 Jan 1970 00:00:01 GMT"));
        assert!(!has("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(!has("if-modified-since", "yesterday"));
    }

    #[test]
    fn a_client_that_wants_a_file_as_it_was_is_not_sent_another() {
        let changed = UNIX_EPOCH + Duration::from_millis(1_500);
        let tag = Tag::new(changed, 10, None);
        let refused = |name, value: &str| is_another(&headers(name, value), &tag, changed);
        assert!(refused("if-match", "\"1-b\"") && refused("if-match", "W/\"1-a\""));
        assert!(!refused("if-match", "\"x\", \"1-a\"") && !refused("if-match", "*"));
        assert!(refused("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(!refused("if-unmodified-since", "Thu, 01 Jan 1970 00:00:01 GMT"));
        assert!(!refused("if-unmodified-since", "yesterday") && !refused("range", "bytes=0-"));
    }

    #[test]
    fn an_encoding_is_accepted_by_name() {
        assert!(accepts("gzip, deflate, br;q=0.5", "br") && accepts("GZIP", "gzip"));
        assert!(!accepts("br;q=0, *", "br") && !accepts("", "gzip") && !accepts("gzipx", "gzip"));
    }
}
