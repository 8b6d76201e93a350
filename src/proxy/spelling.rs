//! The ways to spell a path: what any node could take a target for.

/// Whether a segment of the path is `.` or `..`, however it is spelt. A node that resolves it may serve
/// something else than the route by which the request came.
pub(crate) fn has_dot_segment(target: &str) -> bool {
    // The ordinary request is settled by this.
    ["%", "/.", "\\."].iter().any(|sign| target.contains(sign))
        && segments_of(target).any(|segment| matches!(segment.as_slice(), b"." | b".."))
}

/// The segments of a target's path as a node may read them that decodes escapes and takes a backslash
/// for a slash, without the tails that some drop.
pub(crate) fn segments_of(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let path = decoded(path);
    let segments: Vec<_> = path.split(|&b| b == b'/' || b == b'\\').map(plain).collect();
    segments.into_iter()
}

/// Servlet containers cut parameters, C programs end at NUL, Windows drops dots and spaces.
fn plain(segment: &[u8]) -> Vec<u8> {
    let name = segment.split(|&b| b == b';' || b == 0).next().unwrap_or_default();
    without_tail(name).to_vec()
}

/// A segment without dots and spaces at its end, unless it is nothing but dots.
fn without_tail(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&b| b != b'.' && b != b' ').map_or(name.len(), |at| at + 1);
    &name[..end]
}

/// Resolves percent escapes, once. What is no escape stays.
fn decoded(path: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut rest = path.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => out.push(first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_segment_is_seen_in_every_spelling() {
        for target in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a/..;x=y/b",
            "/a/..%00/b",
            "/a%5c..",
            "/../?q",
        ] {
            assert!(has_dot_segment(target), "{target}");
        }
        for target in [
            "/",
            "/a.b",
            "/a/..b",
            "/a?../b",
            "/%61",
            "/a/.well-known/b",
            "*",
            "?a",
            "/%252e%252e/a",
        ] {
            assert!(!has_dot_segment(target), "{target}");
        }
    }
}
