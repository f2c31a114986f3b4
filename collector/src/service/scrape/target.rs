//! One exporter over HTTP: a connection that is kept, the request with its credentials, and the body
//! within its bounds.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::text::Form;
use super::{Credentials, ScrapeConfig};
use crate::service::foreign::server::gunzip;
use crate::service::{Pass, ServiceError, roots};

/// Which formats are understood, the better one first.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// What to do where nothing answers.
const LOOK: &str = "look whether the exporter runs and listens at the url";

/// An exporter.
pub(super) struct Target {
    url: Url,
    /// Host and port, as the label `instance` names it.
    pub(super) instance: String,
    headers: HeaderMap,
    credentials: Credentials,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    max_body_bytes: usize,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Target")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn new(config: &ScrapeConfig) -> Result<Self, ServiceError> {
        let url = parse(config)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let tls = match url.scheme() {
            "https" => {
                let name = host.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|error| {
                    let what = format!("url of {:?} names no host ({error})", config.name);
                    misconfigured(what, "write it as https://host:port/metrics")
                })?;
                Some((connector(config.ca_file.as_deref())?, name))
            }
            _ => None,
        };
        Ok(Self {
            instance: format!("{host}:{port}"),
            headers: headers(config)?,
            credentials: config.credentials(),
            tls,
            max_body_bytes: config.max_body_bytes,
            connection: None,
            url,
        })
    }

    /// Fetches the exposition.
    pub(super) async fn fetch(&mut self, out: &Pass) -> Result<(Form, Bytes), ServiceError> {
        let request = self.request()?;
        let mut kept = self.connection.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let was_kept = kept.is_some();
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect(out).await?,
        };
        let response = match sender.send_request(request.clone()).await {
            // The server closed a connection that had been idle; a fresh one decides.
            Err(_) if was_kept => {
                sender = self.connect(out).await?;
                sender.send_request(request).await
            }
            response => response,
        };
        let response = response.map_err(|source| self.unreachable(source))?;
        let read = self.read(response).await?;
        self.connection = Some(sender);
        Ok(read)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, ServiceError> {
        let mut path = self.url.path().to_owned();
        if let Some(query) = self.url.query() {
            path = format!("{path}?{query}");
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|error| {
            let what = format!("url of {} has no valid path ({error})", self.instance);
            misconfigured(what, "percent-encode it")
        })?;
        *request.headers_mut() = self.headers.clone();
        if let Some(value) = self.credentials.authorization()? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn connect(&self, out: &Pass) -> Result<SendRequest<Empty<Bytes>>, ServiceError> {
        let tcp = TcpStream::connect(self.instance.as_str()).await;
        let tcp = tcp.map_err(|source| self.unreachable(source))?;
        match &self.tls {
            None => self.shake(tcp, out).await,
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
                self.shake(tls.map_err(|source| self.unreachable(source))?, out)
                    .await
            }
        }
    }

    async fn shake<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        out: &Pass,
    ) -> Result<SendRequest<Empty<Bytes>>, ServiceError> {
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|source| self.unreachable(source))?;
        out.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to an exporter ended");
            }
        });
        Ok(sender)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<(Form, Bytes), ServiceError> {
        let status = response.status();
        if status != StatusCode::OK {
            let remedy = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check the credentials",
                StatusCode::NOT_FOUND => "check the path in the url, often /metrics",
                _ if status.is_redirection() => "use the url that it redirects to",
                _ => "look into the exporter's log",
            };
            return Err(ServiceError::Refused {
                what: format!("the scrape of {}", self.instance),
                source: format!("status {status}").into(),
                remedy: remedy.to_owned(),
            });
        }
        let kind = header_text(response.headers(), header::CONTENT_TYPE);
        let form = match kind.starts_with("application/openmetrics-text") {
            true => Form::OpenMetrics,
            false => Form::Prometheus,
        };
        let is_gzip = header_text(response.headers(), header::CONTENT_ENCODING) == "gzip";
        let limit = self.max_body_bytes;
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(self.too_large()),
            Err(source) => return Err(self.unreachable(source)),
        };
        if !is_gzip {
            return Ok((form, body));
        }
        match gunzip(&body, limit) {
            Ok(body) => Ok((form, body)),
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(self.too_large()),
            Err(error) => Err(ServiceError::Malformed {
                what: format!("the answer of {}", self.instance),
                detail: error.to_string(),
            }),
        }
    }

    fn too_large(&self) -> ServiceError {
        ServiceError::Malformed {
            what: format!("the exposition of {}", self.instance),
            detail: format!(
                "it is larger than {} bytes: raise max_body_bytes",
                self.max_body_bytes
            ),
        }
    }

    fn unreachable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> ServiceError {
        ServiceError::Unreachable {
            what: self.instance.clone(),
            source: source.into(),
            remedy: LOOK,
        }
    }
}

impl Credentials {
    /// The header that proves who asks; read anew each time, because tokens are renewed.
    fn authorization(&self) -> Result<Option<HeaderValue>, ServiceError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Bearer(secret) => {
                format!("Bearer {}", secret.read("the bearer token of a scrape")?)
            }
            Self::Basic(user, secret) => {
                let pair = format!("{user}:{}", secret.read("the password of a scrape")?);
                format!("Basic {}", STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let what = "the credentials hold what a header cannot".to_owned();
            misconfigured(what, "look for line breaks in the token or password")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Understands the address.
pub(super) fn parse(config: &ScrapeConfig) -> Result<Url, ServiceError> {
    let url = Url::parse(&config.url).map_err(|error| {
        let what = format!("url of {:?} is no URL ({error})", config.name);
        misconfigured(what, "write it as http://host:port/metrics")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        let what = format!("url of {:?} names no HTTP server", config.name);
        return Err(misconfigured(what, "write it as http://host:port/metrics"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let what = format!("url of {:?} holds credentials", config.name);
        let remedy = "give user and password_file or password_env instead";
        return Err(misconfigured(what, remedy));
    }
    Ok(url)
}

fn headers(config: &ScrapeConfig) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    let url = Url::parse(&config.url).ok();
    let host = url
        .as_ref()
        .map(|url| &url[url::Position::BeforeHost..url::Position::AfterPort]);
    let own = [
        (header::HOST, host.unwrap_or_default()),
        (header::ACCEPT, ACCEPT),
        (header::ACCEPT_ENCODING, "gzip"),
        (
            header::USER_AGENT,
            concat!("driftline/", env!("CARGO_PKG_VERSION")),
        ),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    for (name, value) in &config.headers.0 {
        let pair = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        // The value may be a secret.
        let (key, value) = pair.ok_or_else(|| {
            let what = format!("header {name:?} of {:?} is not valid", config.name);
            misconfigured(what, "write names and values as HTTP has them")
        })?;
        headers.insert(key, value);
    }
    Ok(headers)
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, ServiceError> {
    let roots = roots::trusted(ca_file, "ca_file")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| {
        misconfigured(format!("TLS cannot be used ({error})"), "please report it")
    })?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(super) fn misconfigured(what: String, remedy: &str) -> ServiceError {
    ServiceError::Misconfigured {
        what,
        remedy: remedy.to_owned(),
    }
}
