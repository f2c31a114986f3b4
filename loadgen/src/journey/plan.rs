//! Requests made from steps. Where nothing in a step varies, its request is made once per worker and
//! only shared afterwards. How values are written is left to `template`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri};

use crate::operation::Failure;
use crate::scenario::{Feed, HttpOptions, HttpVersion, Journey, Step, Template};
use crate::target::Target;
use crate::worker::Context;

use super::connect::Body;
use super::judge;
use super::template;
use super::user::User;

/// What is sent with `compression`.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");

/// What all requests of a worker share.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) target: Arc<Target>,
    /// `scheme://host:port`, as captured addresses of the target begin.
    pub(crate) origin: String,
    /// The path of the target's URL, without a slash at its end.
    prefix: String,
    version: HttpVersion,
    keep_alive: bool,
    compression: bool,
    headers: Vec<(String, Template)>,
}

/// The steps of a journey.
#[derive(Debug)]
pub(crate) struct Plan(pub(crate) Vec<PlannedStep>);

/// A step, prepared as far as it can be.
#[derive(Debug)]
pub(crate) struct PlannedStep {
    /// The request, where nothing in it varies.
    pub(crate) fixed: Option<Rc<Request>>,
    /// Whether the body of the answer is looked at.
    pub(crate) keeps_body: bool,
}

/// A request as often as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Base {
    /// What the scenario and the target say.
    pub(crate) fn new(context: &Context) -> Self {
        Self::of(&context.scenario.http, &context.target)
    }

    /// The same of their own.
    pub(crate) fn of(http: &HttpOptions, target: &Arc<Target>) -> Self {
        let target = Arc::clone(target);
        let scheme = if target.tls { "https" } else { "http" };
        Self {
            origin: format!("{scheme}://{}", target.authority),
            prefix: target.url.path().trim_end_matches('/').to_owned(),
            target,
            version: http.version,
            keep_alive: http.keep_alive,
            compression: http.compression,
            headers: http.headers.clone(),
        }
    }

    /// The address of a path and query, in the form that the protocol sends.
    pub(crate) fn uri(&self, path: &str, authority: Option<&HeaderValue>) -> Option<Uri> {
        let path = PathAndQuery::try_from(path).ok()?;
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if self.version == HttpVersion::Http2 {
            let authority = match authority {
                Some(authority) => Authority::try_from(authority.as_bytes()),
                None => Authority::try_from(self.target.authority.as_str()),
            };
            parts.scheme = Some(if self.target.tls {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            });
            parts.authority = Some(authority.ok()?);
        }
        Uri::from_parts(parts).ok()
    }

    /// Makes a request; `path` and `text` fill in templates.
    fn request(
        &self,
        step: &Step,
        path: String,
        mut text: impl FnMut(&Template) -> Result<String, Failure>,
    ) -> Result<Request, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.iter().chain(&step.headers) {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| Failure::Malformed)?;
            // A value that holds a line end is refused here.
            let value = HeaderValue::try_from(text(value)?).map_err(|_| Failure::Malformed)?;
            // The length and the form of the body are what they are, whatever a header says.
            if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
                headers.insert(name, value);
            }
        }
        if self.compression && !headers.contains_key(ACCEPT_ENCODING) {
            headers.insert(ACCEPT_ENCODING, ENCODINGS);
        }
        let host = headers.remove(HOST);
        let path = format!("{}{path}", self.prefix);
        let uri = self.uri(&path, host.as_ref()).ok_or(Failure::Malformed)?;
        if self.version == HttpVersion::Http1 {
            let own = || HeaderValue::try_from(self.target.authority.as_str());
            let host = host.map_or_else(own, Ok).map_err(|_| Failure::Malformed)?;
            headers.insert(HOST, host);
            if !self.keep_alive {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        let method = Method::try_from(step.method.as_str()).map_err(|_| Failure::Malformed)?;
        if method == Method::CONNECT {
            return Err(Failure::Malformed);
        }
        let body = step
            .body
            .as_ref()
            .map(text)
            .transpose()?
            .unwrap_or_default();
        Ok(Request {
            method,
            uri,
            headers,
            body: Bytes::from(body),
        })
    }
}

impl Plan {
    /// Prepares a journey.
    pub(crate) fn new(base: &Base, journey: &Journey) -> Self {
        Self(
            journey
                .steps
                .iter()
                .map(|step| PlannedStep::new(base, step))
                .collect(),
        )
    }
}

impl PlannedStep {
    pub(crate) fn new(base: &Base, step: &Step) -> Self {
        let literal = |template: &Template| {
            template
                .as_literal()
                .map(str::to_owned)
                .ok_or(Failure::Capture)
        };
        // A step that cannot be made without a user is made for each, which tells its failure too.
        let fixed = literal(&step.path)
            .and_then(|path| base.request(step, path, literal))
            .ok()
            .map(Rc::new);
        Self {
            fixed,
            keeps_body: judge::needs_body(step),
        }
    }

    /// The request of a user.
    pub(crate) fn request(
        &self,
        base: &Base,
        step: &Step,
        user: &mut User,
        feeds: &BTreeMap<String, Arc<Feed>>,
    ) -> Result<Rc<Request>, Failure> {
        if let Some(fixed) = &self.fixed {
            return Ok(Rc::clone(fixed));
        }
        let path = template::path(&step.path, user, feeds, &base.origin)?;
        base.request(step, path, |value| template::text(value, user, feeds))
            .map(Rc::new)
    }
}

impl Request {
    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether it may be sent twice without another effect than once (RFC 9110, 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// The request as hyper takes it.
    pub(crate) fn to_http(&self, cookies: Option<&HeaderValue>) -> http::Request<Body> {
        let mut request = http::Request::new(Body::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(cookies) = cookies {
            request
                .headers_mut()
                .insert(http::header::COOKIE, cookies.clone());
        }
        request
    }
}
