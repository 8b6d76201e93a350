//! The path between balancer and node, `/.picluster/`, which no client may ask for, however it is
//! spelt.

/// Whether a target lies in `/.picluster/`, however it is spelt: nodes may decode escapes, merge
/// slashes and resolve dot segments, so all of that is done here too.
pub(crate) fn is_private(target: &str) -> bool {
    // The ordinary request is settled by this.
    let named = |part: &[u8]| part.eq_ignore_ascii_case(b"picluster");
    if !target.contains('%') && !target.as_bytes().windows(9).any(named) {
        return false;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in decoded(path).split(|&b| b == b'/' || b == b'\\') {
        // Servlet containers cut parameters, C programs end at NUL, Windows drops dots and spaces.
        let name = segment.split(|&b| b == b';' || b == 0).next().unwrap_or_default();
        match without_tail(name) {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other.to_vec()),
        }
    }
    segments.first().is_some_and(|first| first.eq_ignore_ascii_case(b".picluster"))
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
