//! What leaves a machine, each with its virtual time.

/// Something a guest sent out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// An Ethernet frame, without checksum.
    Frame(Vec<u8>),
    /// A message for the SDK port that the machine did not answer itself; it decodes as
    /// `chaoscontrol_guest::protocol::Message`.
    Message(Vec<u8>),
    /// A line on COM1, without its line ending.
    Serial(Vec<u8>),
}

/// An [`OutputKind`] with its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// T in ns at which it left.
    pub time: u64,
    /// Position among all outputs of this machine since power-on.
    pub seq: u64,
    /// What it is.
    pub kind: OutputKind,
}

/// Bytes of output that a machine may send within one [`WINDOW_NS`]; one that sends more is off.
pub(super) const WINDOW_LIMIT: u64 = 64 << 20;
const WINDOW_NS: u64 = 10_000_000;
const LINE_LIMIT: usize = 4096;

/// Collects outputs until they are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    waiting: Vec<Output>,
    seq: u64,
    line: Vec<u8>,
    window: u64,
    window_bytes: u64,
}

impl Outbox {
    /// Adds an output; `false` when the guest floods its host.
    pub(super) fn push(&mut self, time: u64, kind: OutputKind) -> bool {
        if self.window != time / WINDOW_NS {
            (self.window, self.window_bytes) = (time / WINDOW_NS, 0);
        }
        let (OutputKind::Frame(bytes) | OutputKind::Message(bytes) | OutputKind::Serial(bytes)) =
            &kind;
        self.window_bytes += bytes.len() as u64 + size_of::<Output>() as u64;
        let seq = self.seq;
        self.seq += 1;
        self.waiting.push(Output { time, seq, kind });
        self.window_bytes <= WINDOW_LIMIT
    }

    /// Adds bytes of COM1, and answers the lines they end as the outputs' text.
    pub(super) fn serial(&mut self, time: u64, bytes: &[u8]) -> Vec<String> {
        let mut ended = Vec::new();
        for &byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    ended.push(String::from_utf8_lossy(&line).into_owned());
                    self.push(time, OutputKind::Serial(line));
                }
                _ => {
                    self.line.push(byte);
                    if self.line.len() >= LINE_LIMIT {
                        let line = std::mem::take(&mut self.line);
                        self.push(time, OutputKind::Serial(line));
                    }
                }
            }
        }
        ended
    }

    /// What COM1 wrote since its last line ending.
    pub(super) fn partial_line(&self) -> &[u8] {
        &self.line
    }

    /// Everything since the last call, in order.
    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_bytes_become_lines() {
        let mut outbox = Outbox::default();
        assert!(outbox.serial(1, b"ab").is_empty());
        assert_eq!(outbox.partial_line(), b"ab");
        assert_eq!(outbox.serial(2, b"c\r\nd\n"), ["abc", "d"]);
        outbox.serial(3, &[b'x'; 5000]);
        let lines = outbox.take();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].kind, OutputKind::Serial(b"abc".to_vec()));
        assert_eq!((lines[1].time, lines[1].seq), (2, 1));
    }

    #[test]
    fn floods_are_noticed() {
        let mut outbox = Outbox::default();
        let big = || OutputKind::Message(vec![0; 60 << 20]);
        assert!(outbox.push(0, big()));
        assert!(outbox.push(WINDOW_NS, big()));
        assert!(!outbox.push(WINDOW_NS + 1, big()));
    }
}
