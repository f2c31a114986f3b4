//! Everything that is not an answer: settings, pings, windows, resets and the peer's goodbye.

use super::super::frame::{self, Code, Head, MAX_WINDOW, flag, kind, setting};
use super::{Desk, MAX_UNWRITTEN_ANSWERS, Session};
use crate::operation::Failure;

impl Session {
    pub(super) fn settings(&mut self, head: Head, payload: &[u8], desk: &Desk) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if head.has(flag::ACK) {
            return match (payload, self.peer_streams) {
                ([], Some(_)) => Ok(()),
                ([], None) => Err(Code::Protocol),
                _ => Err(Code::FrameSize),
            };
        }
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err(Code::FrameSize);
        };
        let mut streams = self.peer_streams.unwrap_or(u32::MAX);
        for &[a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                setting::HEADER_TABLE_SIZE => self.encoder.limit(value as usize),
                setting::MAX_CONCURRENT_STREAMS => streams = value,
                setting::INITIAL_WINDOW_SIZE => self.first_window(i64::from(value))?,
                _ => {}
            }
        }
        self.peer_streams = Some(streams);
        self.answer(kind::SETTINGS, &[])?;
        self.send_blocked(desk);
        Ok(())
    }

    /// Holds for streams that are open, too (RFC 9113, 6.9.2).
    fn first_window(&mut self, window: i64) -> Result<(), Code> {
        if window > MAX_WINDOW {
            return Err(Code::FlowControl);
        }
        let more = window - self.peer_first_window;
        self.peer_first_window = window;
        for stream in self.streams.iter() {
            stream.window += more;
            if stream.window > MAX_WINDOW {
                return Err(Code::FlowControl);
            }
        }
        Ok(())
    }

    pub(super) fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if payload.len() != 8 {
            return Err(Code::FrameSize);
        }
        match head.has(flag::ACK) {
            true => Ok(()),
            false => self.answer(kind::PING, payload),
        }
    }

    fn answer(&mut self, kind: u8, payload: &[u8]) -> Result<(), Code> {
        self.unwritten_answers += 1;
        if self.unwritten_answers > MAX_UNWRITTEN_ANSWERS {
            return Err(Code::EnhanceYourCalm);
        }
        frame::write(&mut self.out, kind, flag::ACK, 0, payload);
        Ok(())
    }

    pub(super) fn window_update(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let &[a, b, c, d] = payload else {
            return Err(Code::FrameSize);
        };
        let more = i64::from(u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff);
        if head.stream == 0 {
            self.window += more;
            if more == 0 {
                return Err(Code::Protocol);
            }
            if self.window > MAX_WINDOW {
                return Err(Code::FlowControl);
            }
        } else if let Some(stream) = self.streams.get(head.stream) {
            stream.window += more;
            if more == 0 || stream.window > MAX_WINDOW {
                self.give_up(head.stream, Failure::Malformed, now_ns, desk);
            }
        } else if !self.streams.is_past(head.stream) {
            return Err(Code::Protocol);
        }
        self.send_blocked(desk);
        Ok(())
    }

    pub(super) fn was_reset(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        let &[a, b, c, d] = payload else {
            return Err(Code::FrameSize);
        };
        if !self.streams.is_past(head.stream) {
            return Err(Code::Protocol);
        }
        let Some(stream) = self.streams.take(head.stream) else {
            return Ok(());
        };
        // A stream that was refused was not looked at (RFC 9113, 8.7).
        match u32::from_be_bytes([a, b, c, d]) == Code::Refused as u32 {
            true => desk.retry(&stream, now_ns, Failure::Reset),
            false => desk.end(&stream, now_ns, Some(Failure::Reset)),
        }
        Ok(())
    }

    /// The peer takes no further streams, and has not looked at those above the last that it names
    /// (RFC 9113, 6.8).
    pub(super) fn goodbye(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ns: u64,
        desk: &mut Desk,
    ) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        let last = frame::number(payload).filter(|_| payload.len() >= 8);
        let last = last.ok_or(Code::FrameSize)? & 0x7fff_ffff;
        self.is_retired = true;
        let mut unseen: Vec<u32> = self
            .streams
            .iter()
            .map(|stream| stream.id)
            .filter(|&id| id > last)
            .collect();
        unseen.sort_unstable();
        for id in unseen {
            if let Some(stream) = self.streams.take(id) {
                desk.retry(&stream, now_ns, Failure::Closed);
            }
        }
        Ok(())
    }
}
