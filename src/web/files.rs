//! The files of a folder, for GET and HEAD: with media types, ranges, dates and tags, and compressed if
//! a compressed file lies beside the other. Nothing is compressed here, and no folder is listed.
//!
//! A name that begins with a dot is not served, symbolic links are not followed unless that is wanted,
//! and no path leads out of the folder.

mod body;
mod conditions;
mod folder;
mod media_type;
mod path;
mod response;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use self::folder::{Folder, Missing, OpenFile};
use super::unusable::Unusable;
use crate::cluster::config::DirConfig;

/// The files below a folder.
#[derive(Debug)]
pub(super) struct Files(Arc<Folder>);

impl Files {
    /// The files of the folder that is configured.
    ///
    /// # Errors
    /// It is not a folder, it may not be read, or this kernel cannot keep a path below it.
    pub(super) fn new(config: &DirConfig) -> Result<Self, Unusable> {
        Ok(Self(Arc::new(Folder::new(config)?)))
    }

    /// Answers a request whose body was read.
    pub(super) async fn answer(&self, request: &Parts) -> Response {
        let (method, headers) = (&request.method, &request.headers);
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = [(header::ALLOW, "GET, HEAD")];
            return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET and HEAD\n").into_response();
        }
        let path = request.uri.path();
        let Some(file) = path::relative(path) else { return not_found() };
        let media_type = media_type::of(&file);
        match self.open(file, headers).await {
            Ok(open) => response::respond(open, method, headers, media_type),
            // The index is itself a folder: another slash would not make a file of it.
            Err(Missing::IsFolder) if path.ends_with('/') => not_found(),
            Err(Missing::IsFolder) => with_a_slash(&request.uri),
            Err(Missing::NotHere) => not_found(),
            Err(Missing::Failed(error)) => {
                tracing::warn!(%error, path, "failed to read a file");
                (StatusCode::SERVICE_UNAVAILABLE, "the file cannot be read now\n").into_response()
            }
        }
    }

    /// Opens a file on a thread that may wait for a disk.
    async fn open(&self, file: PathBuf, headers: &HeaderMap) -> Result<OpenFile, Missing> {
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",");
        let folder = Arc::clone(&self.0);
        let opened = tokio::task::spawn_blocking(move || folder.open(&file, &accepted)).await;
        opened.unwrap_or_else(|error| Err(Missing::Failed(io::Error::other(error))))
    }
}

/// Leads to the path of a folder. The location is relative, so that no path can be taken for another
/// host.
fn with_a_slash(uri: &Uri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = [(header::LOCATION, format!("./{last}/{query}"))];
    (StatusCode::MOVED_PERMANENTLY, location).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}
