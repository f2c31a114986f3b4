//! One operation on the wire: a request sent, its answer read, redirects followed. When it began and
//! what is made of it is left to the journey; which connection carries it, to `pool`.
//!
//! Times: *sent* on HTTP/1.1 is when the first write of the request to the socket began; on HTTP/2,
//! where hyper writes the frames of many requests at once, when the request was handed to an
//! established connection that has a stream free, which writes in the same turn of the thread.
//! *First byte* is when the head of the answer had been read, after redirects that of the last one.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use hyper::body::Incoming;

use crate::clock::RunClock;
use crate::operation::{Failure, NEVER_NS, Operation};
use crate::worker::Gauges;

use super::answer::{self, Take};
use super::connect::Sender;
use super::cookies::{Jar, Site};
use super::failure;
use super::plan::{Base, Request};
use super::pool::{Lease, Pool};
use super::redirect;

/// What the operations of a worker share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) clock: RunClock,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) base: Base,
    pub(crate) pool: Rc<Pool>,
    pub(crate) redirects: u8,
    pub(crate) compression: bool,
    pub(crate) max_bytes: u64,
}

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    /// Decompressed; empty unless it was asked for.
    pub(crate) body: Vec<u8>,
}

/// A request that got no answer.
struct Unanswered {
    failure: Failure,
    /// It failed only because a kept connection had ended, and may be sent once more.
    is_stale: bool,
}

impl Exchange {
    /// Sends a request and reads its answer; times, status and bytes go to the operation as they
    /// become known, so that they are there whenever it ends.
    pub(crate) async fn run(
        &self,
        mut request: Rc<Request>,
        lease: Lease,
        mut jar: Option<&mut Jar>,
        keep: bool,
        operation: &mut Operation,
    ) -> Result<Answer, Failure> {
        let take = Take {
            keep,
            max_bytes: self.max_bytes,
        };
        let mut redirects = 0;
        let mut lease = lease;
        loop {
            let cookies = match jar.as_deref() {
                None => None,
                Some(jar) => self.cookies(&request, jar)?,
            };
            let (response, used) = self
                .answered(&request, cookies.as_ref(), lease, operation)
                .await?;
            operation.first_byte_ns = self.clock.now_ns();
            operation.status = response.status().as_u16();
            let (head, body) = response.into_parts();
            if let Some(jar) = jar.as_deref_mut() {
                self.store(&request, &head.headers, jar);
            }
            let fate = &used.link().fate;
            let body = answer::read(body, take, fate, &mut operation.bytes).await?;
            used.finish();
            let next = if self.redirects > 0 {
                redirect::next(&self.base, &request, head.status, &head.headers)
            } else {
                None
            };
            let Some(next) = next else {
                let body = if self.compression && keep {
                    answer::decompress(&head.headers, body, self.max_bytes)?
                } else {
                    body
                };
                return Ok(Answer {
                    headers: head.headers,
                    body,
                });
            };
            if redirects == self.redirects {
                return Err(Failure::Redirects);
            }
            redirects += 1;
            request = Rc::new(next);
            // The redirect was not the answer yet.
            operation.first_byte_ns = NEVER_NS;
            operation.status = 0;
            lease = self.pool.acquire().await?;
        }
    }

    /// Sends a request, once more where the connection turns out to have ended before.
    async fn answered(
        &self,
        request: &Request,
        cookies: Option<&HeaderValue>,
        mut lease: Lease,
        operation: &mut Operation,
    ) -> Result<(http::Response<Incoming>, Lease), Failure> {
        let mut may_retry = true;
        loop {
            let sent = request.to_http(cookies);
            match self
                .send(sent, request.is_idempotent(), &mut lease, operation)
                .await
            {
                Ok(response) => return Ok((response, lease)),
                Err(unanswered) if unanswered.is_stale && may_retry => {
                    may_retry = false;
                    self.gauges.retries.fetch_add(1, Ordering::Relaxed);
                    // Given back first: where one connection is allowed, it makes room for the next.
                    drop(lease);
                    lease = self.pool.acquire().await?;
                }
                Err(unanswered) => return Err(unanswered.failure),
            }
        }
    }

    async fn send(
        &self,
        request: http::Request<super::connect::Body>,
        is_idempotent: bool,
        lease: &mut Lease,
        operation: &mut Operation,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let was_used = lease.begin();
        let link = lease.link();
        let fate = &link.fate;
        let result = match &link.sender {
            Sender::Http1(sender) => {
                let ready = poll_fn(|cx| sender.borrow_mut().poll_ready(cx)).await;
                if let Err(error) = ready {
                    let failure = failure::of_exchange(&error, fate);
                    return Err(Unanswered {
                        failure,
                        is_stale: was_used,
                    });
                }
                fate.await_write();
                let response = sender.borrow_mut().try_send_request(request);
                let noted = NoteWritten {
                    fate,
                    clock: self.clock,
                    sent_ns: &mut operation.sent_ns,
                };
                let result = response.await;
                drop(noted);
                result
            }
            Sender::Http2(sender) => {
                if operation.sent_ns == NEVER_NS {
                    operation.sent_ns = self.clock.now_ns();
                }
                let response = sender.borrow_mut().try_send_request(request);
                response.await
            }
        };
        result.map_err(|mut error| {
            let was_written = error.take_message().is_none();
            let failure = failure::of_exchange(error.error(), fate);
            let is_broken = matches!(failure, Failure::Closed | Failure::Reset);
            let has_ended = fate.has_ended() || fate.error().is_some() || link.is_closed();
            let is_stale = was_used && has_ended && (!was_written || (is_idempotent && is_broken));
            Unanswered { failure, is_stale }
        })
    }

    fn cookies(&self, request: &Request, jar: &Jar) -> Result<Option<HeaderValue>, Failure> {
        let Some(own) = jar.header(self.site(request)) else {
            return Ok(None);
        };
        let whole = match request.headers.get(http::header::COOKIE) {
            None => HeaderValue::try_from(own),
            Some(given) => {
                HeaderValue::try_from([given.as_bytes(), b"; ", own.as_bytes()].concat())
            }
        };
        whole.map(Some).map_err(|_| Failure::Malformed)
    }

    fn store(&self, request: &Request, headers: &HeaderMap, jar: &mut Jar) {
        for value in headers.get_all(SET_COOKIE) {
            if let Ok(text) = value.to_str() {
                jar.store(text, self.site(request));
            }
        }
    }

    fn site<'a>(&'a self, request: &'a Request) -> Site<'a> {
        Site {
            host: &self.base.target.host,
            secure: self.base.target.tls,
            path: request.path(),
            now_s: self.clock.unix_us(self.clock.now_ns()) / 1_000_000,
        }
    }
}

/// Notes when a request was written, whether its answer comes or is given up.
struct NoteWritten<'a> {
    fate: &'a super::wire::Fate,
    clock: RunClock,
    sent_ns: &'a mut u64,
}

impl Drop for NoteWritten<'_> {
    fn drop(&mut self) {
        if *self.sent_ns == NEVER_NS
            && let Some(written) = self.fate.written()
        {
            *self.sent_ns = self.clock.ns_of(written);
        }
    }
}
