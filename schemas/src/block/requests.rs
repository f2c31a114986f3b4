//! Columns of requests. Times are written as distances from what came just before them.

use super::columns::{
    Column, Fields, Varints, put_bytes, put_packed, put_scalar, put_signed, put_varint, text,
};
use super::{DecodeError, EncodeError, expect_len};
use crate::request::{Request, RequestBatch};
use crate::wire::requests as tag;

/// Columns under construction; kept from block to block for their memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    endpoint: Vec<u8>,
    intended_us: Vec<u8>,
    sent_ns: Vec<u8>,
    first_byte_ns: Vec<u8>,
    done_ns: Vec<u8>,
    status: Vec<u8>,
    bytes: Vec<u8>,
    error: Vec<u8>,
}

impl Scratch {
    fn columns(&mut self) -> [(u64, &mut Vec<u8>); 8] {
        [
            (tag::ENDPOINT, &mut self.endpoint),
            (tag::INTENDED_US, &mut self.intended_us),
            (tag::SENT_NS, &mut self.sent_ns),
            (tag::FIRST_BYTE_NS, &mut self.first_byte_ns),
            (tag::DONE_NS, &mut self.done_ns),
            (tag::STATUS, &mut self.status),
            (tag::BYTES, &mut self.bytes),
            (tag::ERROR, &mut self.error),
        ]
    }
}

/// Appends the message of a batch to `out`.
pub(super) fn encode(
    batch: &RequestBatch,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    for (_, column) in scratch.columns() {
        column.clear();
    }
    let mut before_us = 0_i64;
    for request in &batch.requests {
        check("endpoint", request.endpoint, batch.endpoints.len())?;
        if request.error > 0 {
            check("error", request.error - 1, batch.errors.len())?;
        }
        put_varint(&mut scratch.endpoint, u64::from(request.endpoint));
        put_signed(
            &mut scratch.intended_us,
            request.intended_us.wrapping_sub(before_us),
        );
        before_us = request.intended_us;
        put_signed(&mut scratch.sent_ns, request.sent_ns);
        put_signed(
            &mut scratch.first_byte_ns,
            request.first_byte_ns.wrapping_sub(request.sent_ns),
        );
        put_signed(
            &mut scratch.done_ns,
            request.done_ns.wrapping_sub(request.first_byte_ns),
        );
        put_varint(&mut scratch.status, u64::from(request.status));
        put_varint(&mut scratch.bytes, request.bytes);
        put_varint(&mut scratch.error, u64::from(request.error));
    }
    if !batch.run.is_empty() {
        put_bytes(out, tag::RUN, batch.run.as_bytes());
    }
    put_scalar(out, tag::WORKER, u64::from(batch.worker));
    for endpoint in &batch.endpoints {
        put_bytes(out, tag::ENDPOINTS, endpoint.as_bytes());
    }
    for error in &batch.errors {
        put_bytes(out, tag::ERRORS, error.as_bytes());
    }
    for (tag, column) in scratch.columns() {
        put_packed(out, tag, column);
    }
    Ok(())
}

fn check(what: &'static str, index: u32, len: usize) -> Result<(), EncodeError> {
    if (index as usize) < len {
        Ok(())
    } else {
        Err(EncodeError::BadIndex { what, index, len })
    }
}

/// The message's columns as they lie in the body.
#[derive(Default)]
struct Message<'a> {
    endpoint: Column<'a>,
    intended_us: Column<'a>,
    sent_ns: Column<'a>,
    first_byte_ns: Column<'a>,
    done_ns: Column<'a>,
    status: Column<'a>,
    bytes: Column<'a>,
    error: Column<'a>,
}

impl<'a> Message<'a> {
    /// Reads the columns, and what all rows share into the batch.
    fn read(raw: &'a [u8], batch: &mut RequestBatch) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut fields = Fields::new(raw, "requests");
        while let Some((at, content)) = fields.next()? {
            match at {
                tag::RUN => batch.run = text("run", content)?.to_owned(),
                tag::WORKER => {
                    let mut column = Column::default();
                    column.add("worker", content)?;
                    batch.worker = next(&mut column.varints(), "worker")? as u32;
                }
                tag::ENDPOINTS => batch.endpoints.push(text("endpoints", content)?.to_owned()),
                tag::ERRORS => batch.errors.push(text("errors", content)?.to_owned()),
                tag::ENDPOINT => message.endpoint.add("endpoint", content)?,
                tag::INTENDED_US => message.intended_us.add("intended_us", content)?,
                tag::SENT_NS => message.sent_ns.add("sent_ns", content)?,
                tag::FIRST_BYTE_NS => message.first_byte_ns.add("first_byte_ns", content)?,
                tag::DONE_NS => message.done_ns.add("done_ns", content)?,
                tag::STATUS => message.status.add("status", content)?,
                tag::BYTES => message.bytes.add("bytes", content)?,
                tag::ERROR => message.error.add("error", content)?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn expect_rows(&self, rows: usize) -> Result<(), DecodeError> {
        for (name, column) in [
            ("endpoint", &self.endpoint),
            ("intended_us", &self.intended_us),
            ("sent_ns", &self.sent_ns),
            ("first_byte_ns", &self.first_byte_ns),
            ("done_ns", &self.done_ns),
            ("status", &self.status),
            ("bytes", &self.bytes),
            ("error", &self.error),
        ] {
            expect_len(name, column.len(), rows)?;
        }
        Ok(())
    }
}

/// Decodes a body of so many rows.
pub(super) fn decode(raw: &[u8], rows: usize) -> Result<RequestBatch, DecodeError> {
    let mut batch = RequestBatch::default();
    let message = Message::read(raw, &mut batch)?;
    message.expect_rows(rows)?;
    let mut endpoints = message.endpoint.varints();
    let mut intended = message.intended_us.varints();
    let mut sent = message.sent_ns.varints();
    let mut first_bytes = message.first_byte_ns.varints();
    let mut done = message.done_ns.varints();
    let mut statuses = message.status.varints();
    let mut bytes = message.bytes.varints();
    let mut errors = message.error.varints();
    let mut intended_us = 0_i64;
    batch.requests.reserve_exact(rows);
    for _ in 0..rows {
        let endpoint = next(&mut endpoints, "endpoint")? as u32;
        let error = next(&mut errors, "error")? as u32;
        let known = [
            (
                "endpoint",
                endpoint,
                (endpoint as usize) < batch.endpoints.len(),
            ),
            ("error", error, error as usize <= batch.errors.len()),
        ];
        if let Some((field, value, _)) = known.into_iter().find(|known| !known.2) {
            let value = u64::from(value);
            return Err(DecodeError::BadField { field, value });
        }
        intended_us = intended_us.wrapping_add(signed(&mut intended, "intended_us")?);
        let sent_ns = signed(&mut sent, "sent_ns")?;
        let first_byte_ns = sent_ns.wrapping_add(signed(&mut first_bytes, "first_byte_ns")?);
        batch.requests.push(Request {
            endpoint,
            intended_us,
            sent_ns,
            first_byte_ns,
            done_ns: first_byte_ns.wrapping_add(signed(&mut done, "done_ns")?),
            status: next(&mut statuses, "status")? as u32,
            bytes: next(&mut bytes, "bytes")?,
            error,
        });
    }
    Ok(batch)
}

#[inline]
fn next(column: &mut Varints<'_>, name: &'static str) -> Result<u64, DecodeError> {
    column.next().ok_or(DecodeError::Malformed { what: name })
}

#[inline]
fn signed(column: &mut Varints<'_>, name: &'static str) -> Result<i64, DecodeError> {
    column
        .next_signed()
        .ok_or(DecodeError::Malformed { what: name })
}
