//! The path between balancer and node, `/.picluster/`, which no client may ask for, however it is
//! spelt.

use crate::cluster::protocol::PRIVATE_SEGMENT;
use crate::proxy::spelling::segments_of;

/// Whether a target lies in `/.picluster/`, however it is spelt: nodes may decode escapes, merge
/// slashes and resolve dot segments, so all of that is done here too.
pub(crate) fn is_private(target: &str) -> bool {
    // The ordinary request is settled by this.
    let named = |part: &[u8]| part.eq_ignore_ascii_case(b"picluster");
    if !target.contains('%') && !target.as_bytes().windows(9).any(named) {
        return false;
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in segments_of(target) {
        match segment.as_slice() {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.first().is_some_and(|first| first.eq_ignore_ascii_case(PRIVATE_SEGMENT.as_bytes()))
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
}
