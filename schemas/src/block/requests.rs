//! Columns of requests. Times are written as distances from what came just before them.

use prost::Message as _;
use prost::bytes::Bytes;

use super::{DecodeError, EncodeError, expect_len};
use crate::request::{Request, RequestBatch};
use crate::wire::RequestsMessage;

pub(super) fn encode(batch: &RequestBatch) -> Result<Vec<u8>, EncodeError> {
    let mut message = RequestsMessage {
        run: batch.run.clone(),
        worker: batch.worker,
        endpoints: batch.endpoints.clone(),
        errors: batch.errors.clone(),
        ..Default::default()
    };
    let mut before_us = 0_i64;
    for request in &batch.requests {
        check("endpoint", request.endpoint, batch.endpoints.len())?;
        if request.error > 0 {
            check("error", request.error - 1, batch.errors.len())?;
        }
        message.endpoint.push(request.endpoint);
        message
            .intended_us
            .push(request.intended_us.wrapping_sub(before_us));
        before_us = request.intended_us;
        message.sent_ns.push(request.sent_ns);
        message
            .first_byte_ns
            .push(request.first_byte_ns.wrapping_sub(request.sent_ns));
        message
            .done_ns
            .push(request.done_ns.wrapping_sub(request.first_byte_ns));
        message.status.push(request.status);
        message.bytes.push(request.bytes);
        message.error.push(request.error);
    }
    Ok(message.encode_to_vec())
}

fn check(what: &'static str, index: u32, len: usize) -> Result<(), EncodeError> {
    if (index as usize) < len {
        Ok(())
    } else {
        Err(EncodeError::BadIndex { what, index, len })
    }
}

pub(super) fn decode(raw: Bytes, rows: usize) -> Result<RequestBatch, DecodeError> {
    let message = RequestsMessage::decode(raw).map_err(|source| DecodeError::Protobuf {
        what: "requests",
        source,
    })?;
    for (column, found) in [
        ("endpoint", message.endpoint.len()),
        ("intended_us", message.intended_us.len()),
        ("sent_ns", message.sent_ns.len()),
        ("first_byte_ns", message.first_byte_ns.len()),
        ("done_ns", message.done_ns.len()),
        ("status", message.status.len()),
        ("bytes", message.bytes.len()),
        ("error", message.error.len()),
    ] {
        expect_len(column, found, rows)?;
    }
    let mut requests = Vec::with_capacity(rows);
    let mut intended_us = 0_i64;
    for at in 0..rows {
        let (endpoint, error) = (message.endpoint[at], message.error[at]);
        if endpoint as usize >= message.endpoints.len() {
            return Err(DecodeError::BadField {
                field: "endpoint",
                value: u64::from(endpoint),
            });
        }
        if error as usize > message.errors.len() {
            return Err(DecodeError::BadField {
                field: "error",
                value: u64::from(error),
            });
        }
        intended_us = intended_us.wrapping_add(message.intended_us[at]);
        let sent_ns = message.sent_ns[at];
        let first_byte_ns = sent_ns.wrapping_add(message.first_byte_ns[at]);
        requests.push(Request {
            endpoint,
            intended_us,
            sent_ns,
            first_byte_ns,
            done_ns: first_byte_ns.wrapping_add(message.done_ns[at]),
            status: message.status[at],
            bytes: message.bytes[at],
            error,
        });
    }
    Ok(RequestBatch {
        run: message.run,
        worker: message.worker,
        endpoints: message.endpoints,
        errors: message.errors,
        requests,
    })
}
