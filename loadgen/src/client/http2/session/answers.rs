//! Answers: frames taken apart, header sections and bodies of streams.

use super::super::frame::{self, Code, Head, MAX_WINDOW, flag, kind};
use super::{Desk, PartialSection, Session, WINDOW};
use crate::client::head::MAX_HEAD_BYTES;
use crate::operation::{Failure, NEVER_NS};

impl Session {
    /// Takes frames apart; what is left of the last one is kept.
    pub(super) fn frames(
        &mut self,
        input: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let mut rest = input;
        while !self.pending.is_empty() && !rest.is_empty() {
            rest = self.fill(rest);
            let whole = frame::parse(&self.pending)?;
            if let Some((head, _)) = whole {
                let pending = std::mem::take(&mut self.pending);
                let taken = self.frame(head, &pending[frame::HEAD_BYTES..], now_ns, desk);
                self.pending = pending;
                self.pending.clear();
                taken?;
            }
        }
        while let Some((head, length)) = frame::parse(rest)? {
            self.frame(head, &rest[frame::HEAD_BYTES..length], now_ns, desk)?;
            rest = &rest[length..];
        }
        self.pending.extend_from_slice(rest);
        // Only settings may come first: whatever speaks another protocol is told by its fourth byte.
        let is_begun = self.peer_streams.is_some();
        match self.pending.get(3) {
            Some(&first) if !is_begun && first != kind::SETTINGS => Err(Code::Protocol),
            _ => Ok(()),
        }
    }

    /// Completes the frame that is not whole, and no more than that; gives the rest.
    fn fill<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let length = match *self.pending {
            [high, middle, low, _, _, _, _, _, _, ..] => {
                u32::from_be_bytes([0, high, middle, low]) as usize
            }
            _ => 0,
        };
        let wanted = (frame::HEAD_BYTES + length).saturating_sub(self.pending.len());
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        self.pending.extend_from_slice(taken);
        rest
    }

    fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        if self.peer_streams.is_none() && head.kind != kind::SETTINGS {
            return Err(Code::Protocol);
        }
        if let Some(section) = &self.section
            && (head.kind != kind::CONTINUATION || head.stream != section.stream)
        {
            return Err(Code::Protocol);
        }
        match head.kind {
            kind::DATA => self.body(head, payload, now_ns, desk),
            kind::HEADERS => self.headers(head, payload, now_ns, desk),
            kind::CONTINUATION => self.continuation(head, payload, now_ns, desk),
            kind::RST_STREAM => self.was_reset(head, payload, now_ns, desk),
            kind::SETTINGS => self.settings(head, payload, desk),
            kind::PING => self.ping(head, payload),
            kind::GOAWAY => self.goodbye(head, payload, now_ns, desk),
            kind::WINDOW_UPDATE => self.window_update(head, payload, now_ns, desk),
            kind::PUSH_PROMISE => Err(Code::Protocol),
            kind::PRIORITY if payload.len() != 5 => Err(Code::FrameSize),
            // What is not known is to be left alone (RFC 9113, 5.5).
            _ => Ok(()),
        }
    }

    fn body(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        if !self.streams.is_past(head.stream) {
            return Err(Code::Protocol);
        }
        let content = frame::unpadded(head, payload).ok_or(Code::Protocol)?;
        let length = payload.len() as u64;
        acknowledge(&mut self.out, &mut self.unacknowledged, 0, length);
        let Some(stream) = self.streams.get(head.stream) else {
            // Of a stream that was given up.
            return Ok(());
        };
        let head_only = desk.requests[stream.work.job.request as usize].head_only;
        stream.bytes += content.len() as u64;
        let is_too_long = stream.length.is_some_and(|length| stream.bytes > length);
        if stream.status == 0 || is_too_long || (head_only && stream.bytes > 0) {
            self.give_up(head.stream, Failure::Malformed, now_ns, desk);
        } else if stream.bytes > desk.max_answer_bytes {
            self.give_up(head.stream, Failure::TooLarge, now_ns, desk);
        } else if head.has(flag::END_STREAM) {
            self.whole(head.stream, now_ns, desk);
        } else {
            acknowledge(
                &mut self.out,
                &mut stream.unacknowledged,
                head.stream,
                length,
            );
        }
        Ok(())
    }

    fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let mut block = frame::unpadded(head, payload).ok_or(Code::Protocol)?;
        if head.has(flag::PRIORITY) {
            block = block.get(5..).ok_or(Code::FrameSize)?;
        }
        let ends_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.section(head.stream, block, ends_stream, now_ns, desk);
        }
        self.section = Some(PartialSection {
            stream: head.stream,
            ends_stream,
            bytes: block.to_vec(),
        });
        Ok(())
    }

    fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let section = self.section.as_mut().ok_or(Code::Protocol)?;
        section.bytes.extend_from_slice(payload);
        if section.bytes.len() > MAX_HEAD_BYTES {
            // Without decoding it the connection cannot go on.
            self.give_up(head.stream, Failure::TooLarge, now_ns, desk);
            return Err(Code::EnhanceYourCalm);
        }
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        let whole = self.section.take().ok_or(Code::Protocol)?;
        self.section(head.stream, &whole.bytes, whole.ends_stream, now_ns, desk)
    }

    fn section(
        &mut self,
        id: u32,
        block: &[u8],
        ends_stream: bool,
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let section = self.decoder.decode(block).map_err(|_| Code::Compression)?;
        if !self.streams.is_past(id) {
            return Err(Code::Protocol);
        }
        let Some(stream) = self.streams.get(id) else {
            return Ok(());
        };
        if stream.first_byte_ns == NEVER_NS {
            stream.first_byte_ns = now_ns;
        }
        let is_trailer = stream.status != 0;
        let status = match section.status {
            None if is_trailer && ends_stream && !section.is_broken => {
                self.whole(id, now_ns, desk);
                return Ok(());
            }
            Some(status) if !is_trailer && !section.is_broken && status != 101 => status,
            _ => {
                self.give_up(id, Failure::Malformed, now_ns, desk);
                return Ok(());
            }
        };
        if status < 200 {
            if ends_stream {
                self.give_up(id, Failure::Malformed, now_ns, desk);
            }
            return Ok(());
        }
        stream.status = status;
        let head_only = desk.requests[stream.work.job.request as usize].head_only;
        // Whatever length it gives, such an answer has no body.
        if !head_only && !matches!(status, 204 | 304) {
            stream.length = section.length;
        }
        if stream
            .length
            .is_some_and(|length| length > desk.max_answer_bytes)
        {
            self.give_up(id, Failure::TooLarge, now_ns, desk);
        } else if ends_stream {
            self.whole(id, now_ns, desk);
        }
        Ok(())
    }

    /// The answer is whole.
    fn whole(&mut self, id: u32, now_ns: u64, desk: &mut Desk) {
        let Some(stream) = self.streams.take(id) else {
            return;
        };
        self.has_served = true;
        let request = desk.request(&stream);
        if stream.body_at < request.bytes.len() {
            // The rest of the request is not wanted any more.
            self.reset(id, Code::NoError);
        }
        let took_ns = now_ns.saturating_sub(stream.work.sent_ns);
        let failure = match stream.length {
            Some(length) if length != stream.bytes => Some(Failure::Malformed),
            _ => request.judge(stream.status, took_ns),
        };
        desk.end(&stream, now_ns, failure);
    }

    /// The stream cannot go on, the connection can.
    pub(super) fn give_up(&mut self, id: u32, failure: Failure, now_ns: u64, desk: &mut Desk) {
        let code = match failure {
            Failure::Malformed => Code::Protocol,
            _ => Code::Cancel,
        };
        if let Some(stream) = self.streams.take(id) {
            self.reset(id, code);
            desk.end(&stream, now_ns, Some(failure));
        }
    }
}

/// Opens a window again that is half used up.
fn acknowledge(out: &mut Vec<u8>, unacknowledged: &mut u64, id: u32, received: u64) {
    const { assert!((WINDOW as i64) < MAX_WINDOW) };
    *unacknowledged += received;
    if *unacknowledged >= u64::from(WINDOW / 2) {
        let more = *unacknowledged as u32;
        frame::write(out, kind::WINDOW_UPDATE, 0, id, &more.to_be_bytes());
        *unacknowledged = 0;
    }
}
