//! Where a redirect leads: a pure decision. Only the target itself is followed to; a redirect to
//! anywhere else is the answer, so that no stranger is loaded.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use super::plan::{Base, Request};

/// The request that a redirect asks for; none where the answer is no redirect that may be followed.
pub(crate) fn next(
    base: &Base,
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<Request> {
    let keeps_method = match status.as_u16() {
        301..=303 => false,
        307 | 308 => true,
        _ => return None,
    };
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let target = &base.target.url;
    let here = target.join(request.uri.path_and_query()?.as_str()).ok()?;
    let there = here.join(location).ok()?;
    // The path of a request may begin with two slashes, which `join` takes for another host.
    if there.scheme() != scheme_of(base)
        || there.host() != target.host()
        || there.port_or_known_default() != target.port_or_known_default()
    {
        return None;
    }
    let path = match there.query() {
        Some(query) => format!("{}?{query}", there.path()),
        None => there.path().to_owned(),
    };
    let mut next = request.clone();
    // On HTTP/2 the authority stands in the address and is kept from there.
    let authority = request
        .uri
        .authority()
        .map(|own| own.as_str().parse())
        .transpose()
        .ok()?;
    next.uri = base.uri(&path, authority.as_ref().or(request.headers.get(HOST)))?;
    if !keeps_method {
        if next.method != Method::HEAD {
            next.method = Method::GET;
        }
        next.body.clear();
        next.headers.remove(CONTENT_TYPE);
        next.headers.remove(CONTENT_ENCODING);
    }
    Some(next)
}

fn scheme_of(base: &Base) -> &'static str {
    if base.target.tls { "https" } else { "http" }
}
