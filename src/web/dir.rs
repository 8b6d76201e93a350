//! The files of a folder, for GET and HEAD: with types, ranges, dates and tags, and compressed where
//! somebody has laid the compressed file beside the other.
//!
//! What begins with a dot is not served, links are not followed unless that is wanted, and no path leads
//! out of the folder: the kernel itself is asked to see to that (openat2(2), Linux 5.6), so that nothing can
//! be changed between a look and the opening.

mod body;
mod conditions;
mod kind;

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use self::body::FileBody;
use self::conditions::{Span, Tag};
use super::Unusable;
use crate::cluster::config::DirConfig;

/// What may lie beside a file in its place: the ending, and its name in `Accept-Encoding`. The smaller first.
const COMPRESSED: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

const INDEX: &str = "index.html";

/// A folder that was there at the start. It is opened anew for each request, so that another may be moved to
/// its place.
#[derive(Clone, Debug)]
pub(super) struct Dir(Arc<DirConfig>);

/// An open file and what is said of it.
struct Found {
    file: File,
    bytes: u64,
    modified: SystemTime,
    encoding: Option<&'static str>,
}

enum Missing {
    /// It is a folder, and the path does not end as one.
    IsFolder,
    /// It is not there, or nobody's business.
    NotHere,
    Failed(io::Error),
}

impl Dir {
    /// # Errors
    /// It is no folder, may not be read, or this kernel keeps nobody beneath it.
    pub(super) fn new(config: &DirConfig) -> Result<Self, Unusable> {
        let dir = Self(Arc::new(config.clone()));
        let unusable = |error: io::Error, fix| {
            let folder = config.folder.display();
            Unusable(format!("--dir {folder} cannot be served: {error}; {fix}"))
        };
        std::fs::read_dir(&config.folder)
            .map_err(|error| unusable(error, "make the folder, or name another"))?;
        let tried = dir.root().and_then(|root| dir.beneath(&root, Path::new(".")));
        tried
            .map_err(|error| unusable(error.into(), "openat2 is needed, of Linux 5.6 or newer"))?;
        Ok(dir)
    }

    fn root(&self) -> Result<OwnedFd, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.0.folder, folder, Mode::empty())
    }

    /// Opens what is in the folder.
    fn beneath(&self, root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
        let resolve = if self.0.follow_symlinks {
            ResolveFlags::NO_MAGICLINKS
        } else {
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS
        };
        // Not to wait for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat2(root, path, flags, Mode::empty(), resolve)
    }

    /// What is to be said to a request.
    pub(super) async fn answer(&self, request: &Parts) -> Response {
        let (method, headers) = (&request.method, &request.headers);
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = [(header::ALLOW, "GET, HEAD")];
            return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET and HEAD\n").into_response();
        }
        let path = request.uri.path();
        let Some(file) = relative(path) else { return not_found() };
        let kind = kind::of(&file);
        match self.find(file, headers).await {
            Ok(found) => found.answer(method, headers, kind),
            // Its index is a folder: no slash more makes a file of it.
            Err(Missing::IsFolder) if path.ends_with('/') => not_found(),
            Err(Missing::IsFolder) => {
                // Relative, so that no path can be taken for another host.
                let last = path.rsplit('/').next().unwrap_or_default();
                let query = request.uri.query().map(|query| format!("?{query}"));
                let to = format!("./{last}/{}", query.unwrap_or_default());
                let to = [(header::LOCATION, to)];
                (StatusCode::MOVED_PERMANENTLY, to).into_response()
            }
            Err(Missing::NotHere) => not_found(),
            Err(Missing::Failed(error)) => {
                tracing::warn!(%error, path, "failed to read a file");
                (StatusCode::SERVICE_UNAVAILABLE, "the file cannot be read now\n").into_response()
            }
        }
    }

    /// Opens the file, or the compressed one beside it, where that may wait for a disk.
    async fn find(&self, file: PathBuf, headers: &HeaderMap) -> Result<Found, Missing> {
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",");
        let dir = self.clone();
        let opened = tokio::task::spawn_blocking(move || dir.open(&file, &accepted)).await;
        opened.unwrap_or_else(|error| Err(Missing::Failed(io::Error::other(error))))
    }

    fn open(&self, path: &Path, accepted: &str) -> Result<Found, Missing> {
        let root = self.root().map_err(missing)?;
        let open = |path: &Path| {
            let file = File::from(self.beneath(&root, path).map_err(missing)?);
            let about = file.metadata().map_err(Missing::Failed)?;
            Ok((file, about))
        };
        let (file, about) = open(path)?;
        if about.is_dir() {
            return Err(Missing::IsFolder);
        }
        let plain = Found::new(file, &about, None)?;
        for (ending, encoding) in COMPRESSED {
            if conditions::accepts(accepted, encoding)
                && let Ok((file, about)) = open(&with_ending(path, ending))
                && let Ok(found) = Found::new(file, &about, Some(encoding))
                // One that was forgotten when the file was changed is of no use.
                && found.modified >= plain.modified
            {
                return Ok(found);
            }
        }
        Ok(plain)
    }
}

impl Found {
    fn new(file: File, about: &Metadata, encoding: Option<&'static str>) -> Result<Self, Missing> {
        if !about.is_file() {
            return Err(Missing::NotHere);
        }
        let modified = about.modified().map_err(Missing::Failed)?;
        Ok(Self { file, bytes: about.len(), modified, encoding })
    }

    fn answer(self, method: &Method, asked: &HeaderMap, kind: &'static str) -> Response {
        let tag = Tag::new(self.modified, self.bytes, self.encoding);
        let mut headers = HeaderMap::new();
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put(header::ETAG, tag.as_str());
        put(header::LAST_MODIFIED, &httpdate::fmt_http_date(self.modified));
        put(header::VARY, "accept-encoding");
        if conditions::is_another(asked, &tag, self.modified) {
            let said = "the file is not the one that was asked for\n";
            return (StatusCode::PRECONDITION_FAILED, headers, said).into_response();
        }
        if conditions::has_it(asked, &tag, self.modified) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        put(header::ACCEPT_RANGES, "bytes");
        put(header::CONTENT_TYPE, kind);
        put(header::CONTENT_ENCODING, self.encoding.unwrap_or_default());
        let span = if method == Method::GET {
            conditions::span(asked, &tag, self.modified, self.bytes)
        } else {
            Span::Whole
        };
        let (status, from, to) = match span {
            Span::Whole => (StatusCode::OK, 0, self.bytes),
            Span::Part(from, to) => {
                put(header::CONTENT_RANGE, &format!("bytes {from}-{}/{}", to - 1, self.bytes));
                (StatusCode::PARTIAL_CONTENT, from, to)
            }
            Span::Nothing => {
                let range = [(header::CONTENT_RANGE, format!("bytes */{}", self.bytes))];
                return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
            }
        };
        put(header::CONTENT_LENGTH, &(to - from).to_string());
        if self.encoding.is_none() {
            headers.remove(header::CONTENT_ENCODING);
        }
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => Body::new(FileBody::new(self.file, from, to)),
        };
        (status, headers, body).into_response()
    }
}

fn missing(error: Errno) -> Missing {
    // XDEV: it would lead out of the folder.
    let not_here = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::XDEV,
        Errno::LOOP,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NAMETOOLONG,
        Errno::NXIO,
    ];
    if not_here.contains(&error) { Missing::NotHere } else { Missing::Failed(error.into()) }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// The file of a path, in the folder; `None` if no file may have it. A slash at the end means the index.
fn relative(path: &str) -> Option<PathBuf> {
    let mut file = PathBuf::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = decoded(segment)?;
        // A dot at the beginning hides it, and leads up.
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

/// The bytes that a part of a path stands for (RFC 3986 section 2.1).
fn decoded(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_names_a_hidden_file_or_one_outside() {
        for path in ["/..", "/../x", "/a/../x", "/%2e%2e/x", "/.%2E", "/.git/x", "/a/%2ehidden"] {
            assert!(relative(path).is_none(), "{path}");
        }
        for path in ["/%2f", "/a%00", "/%", "/%2", "/%zz", "/a%2Fb", "", "*"] {
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
