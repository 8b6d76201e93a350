//! From the path of a request to the path of a file below the folder.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// The file that a path ending with a slash stands for.
const INDEX: &str = "index.html";

/// The relative path of the file that a request path names; `None` if no file can have it. A slash at
/// the end names the index of a folder. A name that begins with a dot is refused: it is hidden, or leads
/// upwards.
pub(super) fn relative(path: &str) -> Option<PathBuf> {
    let mut file = PathBuf::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = decode(segment)?;
        if name.first() == Some(&b'.') || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return None;
        }
        file.push(OsString::from_vec(name));
    }
    if path.ends_with('/') {
        file.push(INDEX);
    }
    (!file.as_os_str().is_empty()).then_some(file)
}

/// The bytes that a segment of a path stands for (RFC 3986 section 2.1); `None` if an escape is broken.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let name: Vec<u8> = percent_decode_str(segment).collect();
    // The crate leaves a broken escape as it stands, and a whole one becomes two bytes shorter.
    let escapes = segment.bytes().filter(|byte| *byte == b'%').count();
    (segment.len() - name.len() == 2 * escapes).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn no_path_names_a_hidden_file_or_one_outside() {
        for path in ["/..", "/../x", "/a/../x", "/%2e%2e/x", "/.%2E", "/.git/x", "/a/%2ehidden"] {
            assert!(relative(path).is_none(), "{path}");
        }
        for path in ["/%2f", "/a%00", "/%", "/%2", "/%zz", "/a%2Fb", "/%%41", "/%4%41", "", "*"] {
            assert!(relative(path).is_none_or(|file| file == Path::new("*")), "{path}");
        }
        for (path, file) in [
            ("/", "index.html"),
            ("/a/", "a/index.html"),
            ("/a//b.css", "a/b.css"),
            ("/a%20b", "a b"),
            ("/%C3%A9", "é"),
            ("/a..b", "a..b"),
        ] {
            assert_eq!(relative(path).unwrap(), Path::new(file));
        }
    }
}
