//! The conditions and the range of a request for a file: tags, dates and ranges (RFC 9110 sections 13 and
//! 14). `asked` is always the headers of the request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, header};

/// An entity tag, made of the second in which a file was changed and of its length: copies on several nodes
/// have the same tag.
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

/// The bytes of a file that are sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    Whole,
    /// From the first of these bytes to before the second.
    Part(u64, u64),
    /// The range begins behind the end of the file.
    Unsatisfiable,
}

/// Returns whether the client wants a state of the file that is gone (RFC 9110 sections 13.1.1 and 13.1.4).
pub(super) fn precondition_fails(asked: &HeaderMap, tag: &Tag, modified: SystemTime) -> bool {
    match named(asked, header::IF_MATCH, |one| one == tag.0) {
        Some(is_it) => !is_it,
        None => date(asked, header::IF_UNMODIFIED_SINCE)
            .is_some_and(|since| seconds(modified) > seconds(since)),
    }
}

/// Returns whether the client has the file in its present state (RFC 9110 sections 13.1.2 and 13.1.3).
pub(super) fn is_not_modified(asked: &HeaderMap, tag: &Tag, modified: SystemTime) -> bool {
    named(asked, header::IF_NONE_MATCH, |one| one.trim_start_matches("W/") == tag.0).unwrap_or_else(
        || {
            date(asked, header::IF_MODIFIED_SINCE)
                .is_some_and(|since| seconds(modified) <= seconds(since))
        },
    )
}

/// Returns whether a list of tags names the file; `None` if there is no such list.
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

/// The range that is asked for. A request for several ranges gets the whole file, as section 14.2 allows.
pub(super) fn range(asked: &HeaderMap, tag: &Tag, modified: SystemTime, bytes: u64) -> ByteRange {
    let range = text(asked, header::RANGE).and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return ByteRange::Whole;
    };
    let is_for_another = text(asked, header::IF_RANGE).is_some_and(|known| {
        let date = httpdate::parse_http_date(known).ok();
        known != tag.0 && date.is_none_or(|date| seconds(date) != seconds(modified))
    });
    if is_for_another {
        return ByteRange::Whole;
    }
    let (from, to) = match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
        (Some(first), None) if last.is_empty() => (first, bytes),
        (None, Some(last)) if first.is_empty() => (bytes.saturating_sub(last), bytes),
        _ => return ByteRange::Whole,
    };
    if from < to { ByteRange::Part(from, to) } else { ByteRange::Unsatisfiable }
}

/// A position in a file. A number that does not fit counts as the largest one, because no file is as long.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Returns whether a list of `Accept-Encoding` names an encoding with a weight above 0.
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

/// The seconds since 1970, without a fraction, as in the dates of headers.
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
        for (asked, part) in [
            ("bytes=0-0", ByteRange::Part(0, 1)),
            ("bytes=2-", ByteRange::Part(2, 10)),
            ("bytes=2-99", ByteRange::Part(2, 10)),
            ("bytes=-3", ByteRange::Part(7, 10)),
            ("bytes=-99", ByteRange::Part(0, 10)),
            ("bytes=10-", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=5-2", ByteRange::Whole),
            ("bytes=0-1,3-4", ByteRange::Whole),
            ("bytes=x-", ByteRange::Whole),
            ("lines=0-1", ByteRange::Whole),
            ("bytes=18446744073709551615-", ByteRange::Unsatisfiable),
            ("bytes=0-18446744073709551615", ByteRange::Part(0, 10)),
            ("bytes=0-99999999999999999999999999", ByteRange::Part(0, 10)),
            ("bytes=-99999999999999999999", ByteRange::Part(0, 10)),
            ("bytes=99999999999999999999-", ByteRange::Unsatisfiable),
            ("bytes=99999999999999999999-99999999999999999999", ByteRange::Unsatisfiable),
            ("bytes=12-14", ByteRange::Unsatisfiable),
            ("bytes=12-x", ByteRange::Whole),
            ("bytes=+1-", ByteRange::Whole),
            ("bytes=-", ByteRange::Whole),
        ] {
            assert_eq!(range(&headers("range", asked), &tag, then, 10), part, "{asked}");
        }
        assert_eq!(range(&headers("range", "bytes=-1"), &tag, then, 0), ByteRange::Unsatisfiable);
    }

    #[test]
    fn a_client_that_has_a_file_does_not_get_it_again() {
        let changed = UNIX_EPOCH + Duration::from_millis(1_500);
        let tag = Tag::new(changed, 10, None);
        let has = |name, value: &str| is_not_modified(&headers(name, value), &tag, changed);
        assert!(has("if-none-match", "\"1-a\"") && has("if-none-match", "\"x\", W/\"1-a\""));
        assert!(has("if-none-match", "*") && !has("if-none-match", "\"1-b\""));
        assert!(has("if-modified-since", "Thu, 01 Jan 1970 00:00:01 GMT"));
        assert!(!has("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(!has("if-modified-since", "yesterday"));
    }

    #[test]
    fn a_client_that_wants_an_old_state_does_not_get_a_new_one() {
        let changed = UNIX_EPOCH + Duration::from_millis(1_500);
        let tag = Tag::new(changed, 10, None);
        let refused = |name, value: &str| precondition_fails(&headers(name, value), &tag, changed);
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
