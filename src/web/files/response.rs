//! The answer with an open file: its headers, the conditions of the client and the part it wants.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::FileBody;
use super::conditions::{self, ByteRange, Tag};
use super::folder::OpenFile;

/// Answers GET or HEAD with a file. `asked` are the headers of the request.
pub(super) fn respond(
    open: OpenFile,
    method: &Method,
    asked: &HeaderMap,
    media_type: &'static str,
) -> Response {
    let OpenFile { file, bytes, modified, encoding } = open;
    let tag = Tag::new(modified, bytes, encoding);
    let mut headers = HeaderMap::new();
    put(&mut headers, header::ETAG, tag.as_str());
    put(&mut headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    put(&mut headers, header::VARY, "accept-encoding");
    if conditions::precondition_fails(asked, &tag, modified) {
        let text = "the file is not the one that was asked for\n";
        return (StatusCode::PRECONDITION_FAILED, headers, text).into_response();
    }
    if conditions::is_not_modified(asked, &tag, modified) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    put(&mut headers, header::ACCEPT_RANGES, "bytes");
    put(&mut headers, header::CONTENT_TYPE, media_type);
    if let Some(encoding) = encoding {
        put(&mut headers, header::CONTENT_ENCODING, encoding);
    }
    // A range counts for GET alone (RFC 9110 section 14.2).
    let range = if method == Method::GET {
        conditions::range(asked, &tag, modified, bytes)
    } else {
        ByteRange::Whole
    };
    let (status, from, to) = match range {
        ByteRange::Whole => (StatusCode::OK, 0, bytes),
        ByteRange::Part(from, to) => {
            let range = format!("bytes {from}-{}/{bytes}", to - 1);
            put(&mut headers, header::CONTENT_RANGE, &range);
            (StatusCode::PARTIAL_CONTENT, from, to)
        }
        ByteRange::Unsatisfiable => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{bytes}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    put(&mut headers, header::CONTENT_LENGTH, &(to - from).to_string());
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::new(FileBody::new(file, from, to)),
    };
    (status, headers, body).into_response()
}

/// Sets a header whose text is made here, so that it is always valid.
fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
