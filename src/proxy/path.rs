//! The path of a target in every spelling: all that any node could take it for.
//!
//! A client may not ask for `/.picluster/`, which is between balancer and node, and where services
//! differ by their paths no path may be readable as another one. Nodes may decode escapes, merge
//! slashes and resolve dot segments, so both questions are asked of the decoded path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::cluster::protocol::PRIVATE_SEGMENT;

/// Returns whether a target lies in `/.picluster/`, however it is spelt.
pub(super) fn is_private(target: &str) -> bool {
    // The ordinary request is settled by this.
    let named = |part: &[u8]| part.eq_ignore_ascii_case(b"picluster");
    if !target.contains('%') && !target.as_bytes().windows(9).any(named) {
        return false;
    }
    let path = decoded(target);
    let mut resolved: Vec<&[u8]> = Vec::new();
    for segment in segments(&path) {
        match segment {
            b"" | b"." => {}
            b".." => drop(resolved.pop()),
            _ => resolved.push(segment),
        }
    }
    resolved.first().is_some_and(|first| first.eq_ignore_ascii_case(PRIVATE_SEGMENT.as_bytes()))
}

/// Returns whether a segment of the path is `.` or `..`, however it is spelt. A node that resolves it
/// may serve something else than the route by which the request came.
pub(super) fn has_dot_segment(target: &str) -> bool {
    // The ordinary request is settled by this.
    ["%", "/.", "\\."].iter().any(|sign| target.contains(sign))
        && segments(&decoded(target)).any(|segment| matches!(segment, b"." | b".."))
}

/// The path of a target, its percent escapes resolved once. A percent sign that begins no escape stays.
fn decoded(target: &str) -> Cow<'_, [u8]> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    percent_decode_str(path).into()
}

/// The segments of a decoded path as a node may read them that takes a backslash for a slash, without
/// the tails that some drop.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/' || b == b'\\').map(plain)
}

/// A segment as some nodes shorten it: servlet containers cut parameters, C programs end at NUL,
/// Windows drops dots and spaces.
fn plain(segment: &[u8]) -> &[u8] {
    let name = segment.split(|&b| b == b';' || b == 0).next().unwrap_or_default();
    without_tail(name)
}

/// A segment without dots and spaces at its end, unless it is nothing but dots.
fn without_tail(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&b| b != b'.' && b != b' ').map_or(name.len(), |at| at + 1);
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_path_is_seen_in_every_spelling() {
        for target in [
            "/.picluster",
            "/.picluster/health",
            "//.picluster/x",
            "/a/../.picluster/x?y",
            "/%2epicluster/health",
            "/%2E%70icluster",
            "/./.picluster",
            "/.PICLUSTER/",
            "/%2f.picluster",
            "/.picluster;a=b/health",
            "/;/.picluster/health",
            "/x/..;/.picluster/health",
            "/.picluster%00/health",
            "/.picluster%20/health",
            "/.picluster./health",
        ] {
            assert!(is_private(target), "{target}");
        }
        for target in ["/", "/picluster", "/a/.picluster", "/?.picluster", "/.picluster2", "/%zz"] {
            assert!(!is_private(target), "{target}");
        }
    }

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
