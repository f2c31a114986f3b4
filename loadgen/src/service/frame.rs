//! Frames of WebSocket (RFC 6455) as bytes: heads parsed, payloads unmasked, frames written, and
//! messages put together from fragments.
//!
//! Pure: sockets and what is answered to a message are left to `websocket`.

/// A close code that this service sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    Protocol = 1002,
    NotUtf8 = 1007,
    TooSlow = 1008,
    TooBig = 1009,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The most bytes that a frame's head takes when written by a server.
pub(crate) const HEAD_BYTES: usize = 10;

/// The head of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: [u8; 4],
    /// Bytes of the head itself.
    pub(crate) head_bytes: usize,
    pub(crate) payload_bytes: usize,
}

/// Parses a head; `None` when bytes are missing. A payload over `most` bytes is an error at once.
pub(crate) fn parse_head(bytes: &[u8], most: usize) -> Result<Option<Head>, CloseCode> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(CloseCode::Protocol),
    };
    let last = first & 0x80 != 0;
    let control = first & 0x08 != 0;
    let short = second & 0x7f;
    // No extension was agreed on, a client must mask, and a control frame is short and whole.
    let refused = first & 0x70 != 0 || second & 0x80 == 0 || (control && (!last || short > 125));
    if refused {
        return Err(CloseCode::Protocol);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let head_bytes = 2 + length_bytes + 4;
    if bytes.len() < head_bytes {
        return Ok(None);
    }
    let length = match length_bytes {
        0 => u64::from(short),
        _ => bytes[2..2 + length_bytes]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let payload_bytes = usize::try_from(length).map_err(|_| CloseCode::TooBig)?;
    if payload_bytes > most {
        return Err(CloseCode::TooBig);
    }
    let at = 2 + length_bytes;
    Ok(Some(Head {
        last,
        opcode,
        mask: [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]],
        head_bytes,
        payload_bytes,
    }))
}

/// Takes a mask off.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (at, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
}

/// Writes a whole frame, unmasked as a server must.
pub(crate) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Writes a close frame.
pub(crate) fn write_close(out: &mut Vec<u8>, code: CloseCode) {
    write(out, Opcode::Close, &(code as u16).to_be_bytes());
}

/// What to do about a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message that came in one frame.
    Message(Opcode, &'a [u8]),
    /// A message whose last fragment came; it is in [`Assembly::take`].
    Assembled(Opcode),
    /// To be answered by a pong of the same payload.
    Ping(&'a [u8]),
    /// To be answered by a close of the same code, and the end.
    Close(&'a [u8]),
    /// Nothing: a fragment, or a pong.
    Nothing,
}

/// A message of which fragments are still missing.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// The opcode of the first fragment, while one is open.
    open: Option<bool>,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes a frame whose payload is unmasked.
    pub(crate) fn accept<'a>(
        &mut self,
        head: &Head,
        payload: &'a [u8],
        most: usize,
    ) -> Result<Event<'a>, CloseCode> {
        match head.opcode {
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Nothing),
            Opcode::Close => close(payload),
            Opcode::Text | Opcode::Binary if self.open.is_some() => Err(CloseCode::Protocol),
            Opcode::Text | Opcode::Binary if head.last => {
                check_text(head.opcode == Opcode::Text, payload)?;
                Ok(Event::Message(head.opcode, payload))
            }
            Opcode::Text | Opcode::Binary => {
                self.open = Some(head.opcode == Opcode::Text);
                self.bytes.extend_from_slice(payload);
                Ok(Event::Nothing)
            }
            Opcode::Continuation => self.continues(head.last, payload, most),
        }
    }

    /// Whether fragments are awaited.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The message that was put together; its memory goes with it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn continues<'a>(
        &mut self,
        last: bool,
        payload: &[u8],
        most: usize,
    ) -> Result<Event<'a>, CloseCode> {
        let text = self.open.ok_or(CloseCode::Protocol)?;
        if self.bytes.len() + payload.len() > most {
            return Err(CloseCode::TooBig);
        }
        self.bytes.extend_from_slice(payload);
        if !last {
            return Ok(Event::Nothing);
        }
        self.open = None;
        check_text(text, &self.bytes)?;
        Ok(Event::Assembled(match text {
            true => Opcode::Text,
            false => Opcode::Binary,
        }))
    }
}

fn check_text(text: bool, payload: &[u8]) -> Result<(), CloseCode> {
    match text && std::str::from_utf8(payload).is_err() {
        true => Err(CloseCode::NotUtf8),
        false => Ok(()),
    }
}

/// RFC 6455, 7.4: the codes that may stand in a close frame, and its reason in UTF-8.
fn close(payload: &[u8]) -> Result<Event<'_>, CloseCode> {
    let [high, low, reason @ ..] = payload else {
        return match payload.is_empty() {
            true => Ok(Event::Close(payload)),
            false => Err(CloseCode::Protocol),
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {
            check_text(true, reason)?;
            Ok(Event::Close(payload))
        }
        _ => Err(CloseCode::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut plain = Vec::new();
        write(&mut plain, Opcode::Binary, payload);
        let head = plain.len() - payload.len();
        let mut bytes = plain[..head].to_vec();
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&mask);
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask);
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Around the lengths at which the head changes.
    fn any_payload() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..20usize, 120..130usize, 65_530..65_540usize];
        (length, any::<u8>()).prop_map(|(length, first)| {
            (0..length).map(|at| first.wrapping_add(at as u8)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_parsed(payload in any_payload(), mask: [u8; 4]) {
            let mut bytes = masked(0x82, &payload, mask);
            let head = parse_head(&bytes, 100_000).expect("valid").expect("whole");
            prop_assert_eq!(head.payload_bytes, payload.len());
            prop_assert_eq!(head.head_bytes + head.payload_bytes, bytes.len());
            let body = &mut bytes[head.head_bytes..];
            unmask(body, head.mask);
            prop_assert_eq!(&*body, &payload[..]);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some(head)) = parse_head(&bytes, 1_000) {
                prop_assert!(head.payload_bytes <= 1_000 && head.head_bytes <= bytes.len());
            }
        }
    }

    #[test]
    fn what_a_client_must_not_send_is_refused() {
        for (bytes, code) in [
            (vec![0x82, 0x01, 0], CloseCode::Protocol),
            (masked(0xC2, b"x", [0; 4]), CloseCode::Protocol),
            (masked(0x83, b"x", [0; 4]), CloseCode::Protocol),
            (masked(0x09, b"x", [0; 4]), CloseCode::Protocol),
            (masked(0x89, &[0; 126], [0; 4]), CloseCode::Protocol),
            (masked(0x82, &[0; 1_001], [0; 4]), CloseCode::TooBig),
        ] {
            assert_eq!(parse_head(&bytes, 1_000), Err(code), "{:?}", &bytes[..3]);
        }
    }

    fn frame(assembly: &mut Assembly, first: u8, payload: &[u8]) -> Result<String, CloseCode> {
        let bytes = masked(first, payload, [0; 4]);
        let head = parse_head(&bytes, 100)?.expect("whole");
        let event = assembly.accept(&head, payload, 100)?;
        Ok(format!("{event:?}"))
    }

    #[test]
    fn fragments_are_put_together_around_control_frames() {
        let mut assembly = Assembly::default();
        assert_eq!(frame(&mut assembly, 0x01, b"ab"), Ok("Nothing".to_owned()));
        assert!(
            frame(&mut assembly, 0x89, b"p")
                .expect("a ping")
                .starts_with("Ping")
        );
        assert_eq!(frame(&mut assembly, 0x00, b"cd"), Ok("Nothing".to_owned()));
        assert_eq!(
            frame(&mut assembly, 0x80, b"e"),
            Ok("Assembled(Text)".to_owned())
        );
        assert_eq!(assembly.take(), b"abcde");
    }

    #[test]
    fn wrong_sequences_are_refused() {
        let mut assembly = Assembly::default();
        assert_eq!(frame(&mut assembly, 0x80, b"e"), Err(CloseCode::Protocol));
        assert_eq!(frame(&mut assembly, 0x81, b"\xff"), Err(CloseCode::NotUtf8));
        assert_eq!(
            frame(&mut assembly, 0x88, b"\x03"),
            Err(CloseCode::Protocol)
        );
        assert_eq!(
            frame(&mut assembly, 0x88, &1005u16.to_be_bytes()),
            Err(CloseCode::Protocol)
        );
        frame(&mut assembly, 0x02, &[0; 60]).expect("a first fragment");
        assert_eq!(frame(&mut assembly, 0x82, b"x"), Err(CloseCode::Protocol));
        assert_eq!(frame(&mut assembly, 0x80, &[0; 60]), Err(CloseCode::TooBig));
    }
}
