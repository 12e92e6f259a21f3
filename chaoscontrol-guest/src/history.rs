//! Histories: what a client calls, and what comes of it, for a test's `check` to judge.
//!
//! Each operation is announced before it begins and told of when it has returned:
//!
//! ```
//! use chaoscontrol_guest::history;
//! # struct Client;
//! # impl Client {
//! #     fn put(&self, _: &str, _: u64) -> Result<(), bool> { Ok(()) }
//! #     fn get(&self, _: &str) -> Result<Option<u64>, bool> { Ok(Some(3)) }
//! # }
//! # let client = Client;
//!
//! let write = history::write("x", 3);
//! match client.put("x", 3) {
//!     Ok(()) => write.ok(()),
//!     Err(refused) if refused => write.fail(), // it certainly had no effect
//!     Err(_) => write.unknown(),               // a timeout: it may have, or may yet
//! }
//! let read = history::read("x");
//! if let Ok(value) = client.get("x") {
//!     read.ok(value);
//! }
//! ```
//!
//! What is never told of, since its client was killed or went on, may or may not have taken
//! effect, like what is told of as unknown. Outside of a test VM nothing happens.

use core::fmt::Display;

use crate::protocol::{Answer, Call, Message, Outcome, Texts};
use crate::text::Text;
use crate::transport::{inside, send};

/// Bytes of a value. A longer one is cut and ends in a hash of the whole.
type ValueText = Text<1024>;

/// Bytes for several values: with an allocator as much as a message holds.
#[cfg(feature = "std")]
const LIST: usize = 60 << 10;
#[cfg(not(feature = "std"))]
const LIST: usize = 3 << 10;

/// An operation that has been called.
#[must_use = "tell what came of it; an operation that is not told of may have taken effect or not"]
#[derive(Debug, PartialEq, Eq)]
pub struct Pending {
    id: u64,
}

impl Pending {
    /// It took effect and answered `answer`: `()` for done, an `Option`, a value, a list of values.
    pub fn ok(self, answer: impl Answered) {
        if inside() {
            answer.tell(&mut |answer| self.returned(Outcome::Ok { answer }));
        }
    }

    /// It had no effect, and never will.
    pub fn fail(self) {
        self.returned(Outcome::Failed);
    }

    /// Nobody knows whether it took effect, or will.
    pub fn unknown(self) {
        self.returned(Outcome::Unknown);
    }

    fn returned(&self, outcome: Outcome<'_>) {
        let id = self.id;
        send(&Message::Return { id, outcome });
    }
}

/// A value by what it displays, for [`Pending::ok`] of types of one's own.
#[derive(Clone, Copy, Debug)]
pub struct Shown<T>(
    /// The value.
    pub T,
);

/// What [`Pending::ok`] takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer of an operation",
    note = "answers are `()`, numbers, `bool`, strings, `Option`s and lists of what is `Display`; \
            wrap any other `Display` in `history::Shown`"
)]
pub trait Answered {
    /// Hands the answer to `to`.
    #[doc(hidden)]
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>));
}

impl Answered for () {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        to(Answer::Done);
    }
}

fn tell_value(value: &dyn Display, to: &mut dyn FnMut(Answer<'_>)) {
    let text = ValueText::of(format_args!("{value}"));
    let value = text.as_str();
    to(Answer::Value { value });
}

fn tell_list<T: Display>(values: &[T], to: &mut dyn FnMut(Answer<'_>)) {
    #[cfg(feature = "std")]
    let mut buffer = std::vec![0; LIST];
    #[cfg(not(feature = "std"))]
    let mut buffer = [0; LIST];
    let put = |at: usize, value: &T| {
        let text = ValueText::of(format_args!("{value}"));
        Texts::push(&mut buffer, at, text.as_str())
    };
    let length = values.iter().try_fold(0, put);
    let values = length.and_then(|length| Texts::new(&buffer[..length]));
    to(values.map_or(Answer::TooLong, |values| Answer::List { values }));
}

impl<T: Display> Answered for Shown<T> {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        tell_value(&self.0, to);
    }
}

impl<T: Display> Answered for Option<T> {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        match self {
            Some(value) => tell_value(value, to),
            None => to(Answer::Nothing),
        }
    }
}

impl<T: Display> Answered for [T] {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        tell_list(self, to);
    }
}

impl<T: Display, const N: usize> Answered for [T; N] {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        tell_list(self, to);
    }
}

#[cfg(feature = "std")]
impl<T: Display> Answered for std::vec::Vec<T> {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        tell_list(self, to);
    }
}

impl<T: Answered + ?Sized> Answered for &T {
    fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
        (**self).tell(to);
    }
}

macro_rules! answered {
    ($($type:ty),*) => {$(
        impl Answered for $type {
            fn tell(&self, to: &mut dyn FnMut(Answer<'_>)) {
                tell_value(&self, to);
            }
        }
    )*};
}
answered!(
    bool, char, str, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);
#[cfg(feature = "std")]
answered!(std::string::String);

fn call(key: &dyn Display, call: Call<'_>) -> Pending {
    let id = send(&Message::Invoke {
        id: 0,
        key: Text::<256>::of(format_args!("{key}")).as_str(),
        call,
    });
    Pending { id }
}

/// What `value` displays, inside of a test VM.
fn text(value: &dyn Display) -> ValueText {
    if inside() {
        ValueText::of(format_args!("{value}"))
    } else {
        ValueText::new()
    }
}

/// Reads a register (answers an `Option` or a value), or all of a set or a log (a list).
pub fn read(key: impl Display) -> Pending {
    call(&key, Call::Read)
}

/// Writes a register; answers `()`.
pub fn write(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Write { value })
}

/// Gives a register the value `new` if it has the value `expected`; answers whether it had.
pub fn compare_and_swap(key: impl Display, expected: impl Display, new: impl Display) -> Pending {
    let (expected, new) = (text(&expected), text(&new));
    let (expected, new) = (expected.as_str(), new.as_str());
    call(&key, Call::CompareAndSwap { expected, new })
}

/// Adds to a set; answers `()`, or whether that changed anything.
pub fn add(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Add { value })
}

/// Removes from a set; answers `()`, or whether that changed anything.
pub fn remove(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Remove { value })
}

/// Asks whether a set has a value; answers a `bool`.
pub fn contains(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Contains { value })
}

/// Puts a value at the end of a queue; answers `()`.
pub fn enqueue(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Enqueue { value })
}

/// Takes the value at the head of a queue; answers an `Option`.
pub fn dequeue(key: impl Display) -> Pending {
    call(&key, Call::Dequeue)
}

/// Puts a value at the end of a log; answers `()`.
pub fn append(key: impl Display, value: impl Display) -> Pending {
    let value = text(&value);
    let value = value.as_str();
    call(&key, Call::Append { value })
}

/// Calls anything else, for a model of one's own. Arguments of more than 2 KiB together are left
/// out from the first that does not fit.
pub fn invoke(key: impl Display, name: &str, arguments: &[&dyn Display]) -> Pending {
    let mut buffer = [0; 2048];
    let mut length = 0;
    for argument in arguments {
        match Texts::push(&mut buffer, length, text(argument).as_str()) {
            Ok(end) => length = end,
            Err(_) => break,
        }
    }
    let name = Text::<256>::of(format_args!("{name}"));
    let (name, arguments) = (
        name.as_str(),
        Texts::new(&buffer[..length]).unwrap_or_default(),
    );
    call(&key, Call::Other { name, arguments })
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    /// The answer as its variant and its texts.
    fn told(answer: impl Answered) -> (String, Vec<String>) {
        let mut told = None;
        answer.tell(&mut |answer| {
            let texts = match answer {
                Answer::Value { value } => [value.to_string()].into(),
                Answer::List { values } => values.iter().map(str::to_string).collect(),
                _ => Vec::new(),
            };
            let name = std::format!("{answer:?}");
            let name = name.split(' ').next().unwrap_or_default().to_string();
            told = Some((name, texts));
        });
        told.expect("it is told")
    }

    #[test]
    fn answers_are_told_by_kind() {
        let expect = |name: &str, texts: &[&str]| {
            (
                name.to_string(),
                texts.iter().map(|t| t.to_string()).collect(),
            )
        };
        assert_eq!(told(()), expect("Done", &[]));
        assert_eq!(told(None::<u8>), expect("Nothing", &[]));
        assert_eq!(told(Some("a")), expect("Value", &["a"]));
        assert_eq!(told(7), expect("Value", &["7"]));
        assert_eq!(told(Shown(1.5)), expect("Value", &["1.5"]));
        assert_eq!(told(false), expect("Value", &["false"]));
        assert_eq!(told([1, 2]), expect("List", &["1", "2"]));
        assert_eq!(told(std::vec!["", "ä"]), expect("List", &["", "ä"]));
        assert_eq!(told(Vec::<u8>::new()), expect("List", &[]));
        assert_eq!(
            told(std::vec!["x".repeat(500); 200]),
            expect("TooLong", &[])
        );
    }

    #[test]
    fn outside_of_a_vm_nothing_happens() {
        let pending = invoke("k", "bump", &[&1, &"two"]);
        assert_eq!(pending, Pending { id: 0 });
        pending.ok(3);
        write("k", 1).fail();
        dequeue("k").unknown();
    }
}
