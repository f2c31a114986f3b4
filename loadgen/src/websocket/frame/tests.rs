//! The codec against tungstenite's, in both directions, and against hand-made bytes.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};

use super::*;

const MAX: u64 = 1 << 20;

/// What a stream said, with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message(u64, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

fn decode(bytes: &[u8], cut: usize) -> Result<Vec<Seen>, ProtocolError> {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for mut piece in bytes.chunks(cut) {
        while let Some(event) = decoder.next(&mut piece, MAX)? {
            seen.push(match event {
                Event::Message { length, text } => {
                    Seen::Message(length, text, decoder.head().to_vec())
                }
                Event::Ping => Seen::Ping(decoder.control().to_vec()),
                Event::Pong => Seen::Pong(decoder.control().to_vec()),
                Event::Close(code) => Seen::Close(code),
            });
        }
    }
    Ok(seen)
}

fn frame(data: OpCode, last: bool, content: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final: last,
        opcode: data,
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    Frame::from_payload(header, content.to_vec().into())
        .format(&mut bytes)
        .expect("a vector takes everything");
    bytes
}

/// A pipe that tungstenite reads from.
struct Pipe(Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Frames of a server as tungstenite writes them, and what they say.
fn server_frames() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    let content = || proptest::collection::vec(any::<u8>(), 0..400);
    let small = || proptest::collection::vec(any::<u8>(), 0..=CONTROL_BYTES);
    let head = |bytes: &[u8]| bytes[..bytes.len().min(STAMP_BYTES)].to_vec();
    prop_oneof![
        (content(), 1usize..200, small()).prop_map(move |(content, piece, ping)| {
            // In fragments, with nothing between them.
            let _ = ping;
            let mut bytes = Vec::new();
            let pieces: Vec<&[u8]> = content.chunks(piece).collect();
            let count = pieces.len().max(1);
            for at in 0..count {
                let data = if at == 0 {
                    Data::Binary
                } else {
                    Data::Continue
                };
                let part = pieces.get(at).copied().unwrap_or_default();
                bytes.extend(frame(OpCode::Data(data), at + 1 == count, part));
            }
            let seen = Seen::Message(content.len() as u64, false, head(&content));
            (bytes, seen)
        }),
        "\\PC{0,60}".prop_map(move |text| {
            let seen = Seen::Message(text.len() as u64, true, head(text.as_bytes()));
            (frame(OpCode::Data(Data::Text), true, text.as_bytes()), seen)
        }),
        (65_000usize..66_000).prop_map(move |length| {
            let content = vec![7; length];
            let seen = Seen::Message(length as u64, false, head(&content));
            (frame(OpCode::Data(Data::Binary), true, &content), seen)
        }),
        small().prop_map(|content| {
            let bytes = frame(OpCode::Control(Control::Ping), true, &content);
            (bytes, Seen::Ping(content))
        }),
        small().prop_map(|content| {
            let bytes = frame(OpCode::Control(Control::Pong), true, &content);
            (bytes, Seen::Pong(content))
        }),
    ]
}

proptest! {
    #[test]
    fn what_tungstenite_writes_is_read(
        frames in proptest::collection::vec(server_frames(), 0..6), cut in 1usize..70_000,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Seen> = frames.into_iter().map(|(_, seen)| seen).collect();
        prop_assert_eq!(decode(&bytes, cut), Ok(expected));
    }

    #[test]
    fn what_is_written_tungstenite_reads(
        contents in proptest::collection::vec(
            prop_oneof![proptest::collection::vec(any::<u8>(), 0..400), (65_500usize..65_600).prop_map(|length| vec![1; length])],
            1..5,
        ),
        ping in proptest::collection::vec(any::<u8>(), 0..=CONTROL_BYTES),
        seed: u64,
    ) {
        let mut masks = Masks::new(seed);
        let mut bytes = Vec::new();
        for content in &contents {
            encode(&mut bytes, Opcode::Binary, masks.next(), content);
            encode(&mut bytes, Opcode::Ping, masks.next(), &ping);
        }
        encode(&mut bytes, Opcode::Close, masks.next(), &1000u16.to_be_bytes());
        let mut peer = WebSocket::from_raw_socket(Pipe(Cursor::new(bytes)), Role::Server, None);
        for content in contents {
            prop_assert_eq!(peer.read().expect("a message"), Message::Binary(content.into()));
            prop_assert_eq!(peer.read().expect("a ping"), Message::Ping(ping.clone().into()));
        }
        let Message::Close(Some(close)) = peer.read().expect("a close") else {
            return Err(TestCaseError::fail("no close"));
        };
        prop_assert_eq!(u16::from(close.code), 1000);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        // Cutting the stream elsewhere changes nothing of what it says or where it fails.
        prop_assert_eq!(decode(&bytes, cut), decode(&bytes, 300));
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let mut bytes = frame(OpCode::Data(Data::Text), false, "h\u{e9}".as_bytes());
    bytes.extend(frame(OpCode::Control(Control::Ping), true, b"still there?"));
    bytes.extend(frame(OpCode::Data(Data::Continue), true, b"llo"));
    for cut in 1..bytes.len() {
        assert_eq!(
            decode(&bytes, cut),
            Ok(vec![
                Seen::Ping(b"still there?".to_vec()),
                Seen::Message(6, true, "h\u{e9}llo".into()),
            ])
        );
    }
}

#[test]
fn what_is_not_of_the_protocol_is_named() {
    for (bytes, error) in [
        (&[0xc2, 0][..], ProtocolError::Reserved),
        (&[0x83, 0], ProtocolError::Opcode),
        (&[0x82, 0x80], ProtocolError::Masked),
        (&[0x09, 0], ProtocolError::Control),
        (&[0x89, 126, 0, 126], ProtocolError::Control),
        (&[0x80, 0], ProtocolError::Fragment),
        (&[0x02, 0, 0x82, 0], ProtocolError::Fragment),
        (
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            ProtocolError::Length,
        ),
        (
            &[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0],
            ProtocolError::TooLarge,
        ),
        (&[0x88, 1, 3], ProtocolError::Close),
        (&[0x88, 2, 0x03, 0xed], ProtocolError::Close),
        (&[0x88, 3, 0x03, 0xe8, 0xff], ProtocolError::Utf8),
        (&[0x81, 2, 0xc3, 0x28], ProtocolError::Utf8),
        (&[0x81, 1, 0xc3], ProtocolError::Utf8),
    ] {
        assert_eq!(decode(bytes, 1), Err(error), "{bytes:x?}");
    }
    assert_eq!(ProtocolError::Utf8.close_code(), 1007);
    assert_eq!(ProtocolError::TooLarge.close_code(), 1009);
    assert_eq!(ProtocolError::Masked.close_code(), 1002);
}

#[test]
fn a_slow_reader_never_reads_past_the_frame() {
    let mut bytes = frame(OpCode::Data(Data::Binary), true, &[5; 300]);
    let first = bytes.len();
    bytes.extend(frame(OpCode::Data(Data::Binary), true, &[6; 3]));
    let mut decoder = Decoder::new();
    let mut at = 0;
    loop {
        let end = at + decoder.wanted();
        let mut piece = &bytes[at..end];
        at = end;
        if let Some(event) = decoder.next(&mut piece, MAX).expect("good frames") {
            assert!(matches!(event, Event::Message { length: 300, .. }));
            break;
        }
    }
    assert_eq!(at, first);
}
