//! The answer to a scrape: the exposition of the caller's numbers in the form that the request
//! accepts. The admin port and the web node share it.

use std::fmt;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::telemetry::exposition::{Families, Format, render};

/// Answers a request that has these headers with all that `collect` writes.
pub(crate) fn answer(
    headers: &HeaderMap,
    collect: impl Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static,
) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter();
    let format = Format::accepted(accept.filter_map(|value| value.to_str().ok()));
    let named = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    (named, render(format, collect)).into_response()
}
