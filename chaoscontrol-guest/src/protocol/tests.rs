//! Both directions of every message, and decoders fed with garbage.

use super::*;

/// SplitMix64: enough randomness for a fuzz test, without a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn messages() -> Vec<Message<'static>> {
    let (file, message) = ("src/raft.rs", "one leader per term");
    vec![
        Message::Boot,
        Message::Identity,
        Message::BodyStarted { pid: 7 },
        Message::SetupComplete,
        Message::Status,
        Message::GetRandom,
        Message::RandomChoice { n: u64::MAX },
        Message::Assert {
            kind: PropertyKind::Sometimes,
            condition: true,
            line: 3,
            column: 9,
            file,
            message,
            details: "term = 7\nnode = \"ä\"",
        },
        Message::Site {
            kind: PropertyKind::Agree,
            line: 1,
            column: 1,
            file,
            message,
        },
        Message::Agree {
            line: 1,
            column: 2,
            file,
            message,
            key: "(\"leader\", 7)",
            value: "0",
        },
        Message::Event {
            name: "elected",
            details: "",
        },
        Message::Output {
            pid: 1,
            name: "redis-server",
            stream: Stream::Stderr,
            line: b"\xFF\0x",
        },
        Message::Panic {
            thread: "main",
            message: "boom",
            location: "a.rs:1:2",
            backtrace: "/init+0x10\n",
        },
        Message::BodyEnd { end: End::Ok },
        Message::BodyEnd {
            end: End::Err { text: "no" },
        },
        Message::BodyEnd {
            end: End::Exit { code: -3 },
        },
        Message::BodyEnd { end: End::Killed },
        Message::Fault {
            fault: "clock skew vm 1 by -40 %",
        },
        Message::Guide { value: -7, message },
        Message::ControlDone { id: 9, errno: 22 },
        Message::AgentError { text: "mount" },
        Message::ProgramStarted { pid: 3, name: "x" },
        Message::ProgramEnd {
            pid: 3,
            name: "x",
            end: End::Signal { signal: 11 },
            allowed: true,
        },
        Message::Invoke {
            id: 7,
            key: "x",
            call: Call::CompareAndSwap {
                expected: "1",
                new: "ä",
            },
        },
        Message::Invoke {
            id: 8,
            key: "",
            call: Call::Other {
                name: "bump",
                arguments: Texts::new(b"\x01\0\0\0a\0\0\0\0").unwrap(),
            },
        },
        Message::Return {
            id: 8,
            outcome: Outcome::Unknown,
        },
        Message::Return {
            id: 7,
            outcome: Outcome::Ok {
                answer: Answer::List {
                    values: Texts::new(b"\x02\0\0\0\xC3\xA4").unwrap(),
                },
            },
        },
    ]
}

#[test]
fn texts_are_what_was_put_there_or_an_error() {
    let mut buffer = [0; 20];
    let end = Texts::push(&mut buffer, 0, "ab").unwrap();
    let end = Texts::push(&mut buffer, end, "").unwrap();
    let end = Texts::push(&mut buffer, end, "ä").unwrap();
    assert_eq!(end, 16);
    assert_eq!(Texts::push(&mut buffer, end, "x"), Err(Error::Full));
    let texts = Texts::new(&buffer[..end]).unwrap();
    assert!(texts.iter().eq(["ab", "", "ä"]));
    assert_eq!(Texts::new(&buffer[..end - 1]), Err(Error::Truncated));
    buffer[15] = b'x';
    assert_eq!(Texts::new(&buffer[..end]), Err(Error::Text));
}

#[test]
fn a_call_gets_its_number_in_place() {
    let call = Call::Read;
    let mut bytes = [0; 64];
    let message = |id| Message::Invoke { id, key: "k", call };
    let length = message(0).encode(&mut bytes).unwrap();
    Message::set_invocation(&mut bytes[..length], 1 << 40);
    assert_eq!(Message::decode(&bytes[..length]), Ok(message(1 << 40)));
}

fn identity() -> Identity<'static> {
    Identity {
        index: 3,
        clients: 1,
        incarnation: 2,
        mac: [2, 0, 0, 0, 0, 3],
        prefix: 24,
        peers: Peers::new(&[[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3], [10, 0, 0, 4]]).unwrap(),
        disk: true,
        wall_ns: 1 << 60,
        entropy: [7; 64],
        setup_ns: 1,
        duration_ns: 2,
        quiet_ns: 3,
        hostname: "vm3",
        test: "chaos::one_leader",
    }
}

#[test]
fn messages_survive_the_wire_and_no_shorter_buffer() {
    for message in messages() {
        let mut buffer = [0xAA; 512];
        let length = message.encode(&mut buffer).unwrap();
        assert_eq!(Message::decode(&buffer[..length]), Ok(message));
        for short in 0..length {
            assert_eq!(message.encode(&mut [0; 512][..short]), Err(Error::Full));
            assert_eq!(
                Message::decode(&buffer[..short]),
                Err(Error::Truncated),
                "{message:?} cut to {short}"
            );
        }
        let longer = Message::decode(&buffer[..=length]);
        if message == Message::Identity {
            assert_eq!(longer, Ok(message));
        } else {
            assert_eq!(longer, Err(Error::Trailing));
        }
    }
}

#[test]
fn an_identity_survives_the_wire_and_knows_the_roles() {
    let mut buffer = [0; 512];
    let length = identity().encode(&mut buffer).unwrap();
    let decoded = Identity::decode(&buffer[..length]).unwrap();
    assert_eq!(decoded, identity());
    assert_eq!(decoded.role_of(2), Role::Server);
    assert_eq!(decoded.role_of(3), Role::Client);
    for short in 0..length {
        assert!(Identity::decode(&buffer[..short]).is_err());
    }
}

#[test]
fn an_identity_out_of_range_is_refused() {
    for (index, clients, prefix) in [(4, 0, 24), (0, 4, 24), (0, 0, 33)] {
        let wrong = Identity {
            index,
            clients,
            prefix,
            ..identity()
        };
        let mut buffer = [0; 512];
        let length = wrong.encode(&mut buffer).unwrap();
        assert_eq!(Identity::decode(&buffer[..length]), Err(Error::Range));
    }
    assert_eq!(Peers::new(&[]), Err(Error::Range));
    assert_eq!(Peers::new(&[[0; 4]; MAX_VMS + 1]), Err(Error::Range));
}

#[test]
fn control_frames_come_out_of_a_stream_one_by_one() {
    let frames = [
        ControlFrame {
            id: 1,
            control: Control::JumpWallClock { ns: -5 },
        },
        ControlFrame {
            id: 2,
            control: Control::Process {
                name: "redis",
                signal: Signal::Stop,
            },
        },
        ControlFrame {
            id: 0,
            control: Control::Reseed { entropy: [7; 64] },
        },
    ];
    let mut stream = [0; 128];
    let first = frames[0].encode(&mut stream).unwrap();
    let second = frames[1].encode(&mut stream[first..]).unwrap();
    assert_eq!(
        ControlFrame::decode(&stream[..first + second]),
        Ok(Some((frames[0], first)))
    );
    assert_eq!(
        ControlFrame::decode(&stream[first..first + second]),
        Ok(Some((frames[1], second)))
    );
    let third = frames[2].encode(&mut stream).unwrap();
    assert_eq!(ControlFrame::decode(&stream), Ok(Some((frames[2], third))));
    frames[0].encode(&mut stream).unwrap();
    for short in 0..first {
        assert_eq!(ControlFrame::decode(&stream[..short]), Ok(None));
    }
    assert_eq!(ControlFrame::decode(&[0xFF; 64]), Err(Error::Range));
}

#[test]
fn programs_are_asked_for_in_frames() {
    let start = Request::Start {
        path: b"/usr/bin/redis-server",
        name: "redis-server",
        arguments: b"--port\x006379\0",
        environment: b"HOME=/\0",
        directory: b"/data",
        process: 7,
        stdin: NO_FILE,
        stdout: 3,
        stderr: 4,
        may_fail: true,
    };
    let mut stream = [0; 512];
    let first = start.encode(&mut stream).unwrap();
    let end = Request::End { signal: 9 };
    let second = end.encode(&mut stream[first..]).unwrap();
    assert_eq!(Request::decode(&stream), Ok(Some((start, first))));
    assert_eq!(
        Request::decode(&stream[first..first + second]),
        Ok(Some((end, second)))
    );
    for short in 0..first {
        assert_eq!(Request::decode(&stream[..short]), Ok(None));
        assert_eq!(start.encode(&mut [0; 512][..short]), Err(Error::Full));
    }
    for reply in [
        Reply::Started { pid: 7 },
        Reply::Failed { errno: 2 },
        Reply::Ended { status: 0x100 },
    ] {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
    assert!(Reply::decode(&[0xFF; Reply::SIZE]).is_err());
}

#[test]
fn decoders_take_any_bytes() {
    let mut random = Random(1);
    let mut buffer = [0; 512];
    for round in 0..200_000 {
        let samples = messages();
        let mut length = samples[round % samples.len()].encode(&mut buffer).unwrap();
        if round % 3 == 0 {
            length = (random.next() % 256) as usize;
            for byte in &mut buffer[..length] {
                *byte = random.next() as u8;
            }
            buffer[0] %= 24;
        } else {
            for _ in 0..=random.next() % 3 {
                buffer[(random.next() as usize) % length] = random.next() as u8;
            }
        }
        if let Ok(message) = Message::decode(&buffer[..length]) {
            let mut again = [0; 512];
            let second = message.encode(&mut again).unwrap();
            assert_eq!(Message::decode(&again[..second]), Ok(message));
        }
        let _ = Identity::decode(&buffer[..length]);
        let _ = ControlFrame::decode(&buffer[..length]);
        let _ = Request::decode(&buffer[..length]);
        let _ = buffer.first_chunk().map(Reply::decode);
    }
}
