//! Numbers that tell the search how near it is: what a property only says when it is too late,
//! a number says on the way.

#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicI64, Ordering};

use crate::protocol::Message;
use crate::transport::{inside, send};

/// A number that the search is to raise.
#[derive(Debug)]
pub struct Guide {
    message: &'static str,
    /// The greatest value that this process has told the host.
    #[cfg(target_has_atomic = "64")]
    told: AtomicI64,
}

impl Guide {
    /// A number of which nothing was told yet.
    pub const fn new(message: &'static str) -> Self {
        Self {
            message,
            #[cfg(target_has_atomic = "64")]
            told: AtomicI64::new(i64::MIN),
        }
    }

    /// Tells the host a value that is greater than all before; those beyond 64 bits count as the
    /// outermost.
    pub fn tell(&self, value: i128) {
        let value = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        if inside() && self.is_news(value) {
            send(&Message::Guide {
                value,
                message: self.message,
            });
        }
    }

    #[cfg(target_has_atomic = "64")]
    fn is_news(&self, value: i64) -> bool {
        self.told.fetch_max(value, Ordering::Relaxed) < value
    }

    #[cfg(not(target_has_atomic = "64"))]
    fn is_news(&self, _: i64) -> bool {
        true
    }
}

/// Lets the search look for what makes a number greater. It is no property: no value is wrong.
///
/// The number is any primitive one, taken as a whole one. The message is its identity and must be
/// a constant.
///
/// ```
/// # use chaoscontrol_guest::maximize;
/// let queue = [1, 2, 3];
/// maximize!("messages in the queue", queue.len());
/// ```
#[macro_export]
macro_rules! maximize {
    ($message:expr, $value:expr $(,)?) => {{
        static GUIDE: $crate::__private::Guide = $crate::__private::Guide::new($message);
        GUIDE.tell($value as i128)
    }};
}

/// Lets the search look for what makes a number smaller.
///
/// Takes what [`maximize!`] takes.
#[macro_export]
macro_rules! minimize {
    ($message:expr, $value:expr $(,)?) => {{
        static GUIDE: $crate::__private::Guide = $crate::__private::Guide::new($message);
        GUIDE.tell(-($value as i128))
    }};
}

/// [`assert_always!`](crate::assert_always) of `left > right`, both primitive numbers, and lets
/// the search look for what brings them nearer to a breach.
///
/// ```
/// # use chaoscontrol_guest::assert_always_greater_than;
/// let (votes, servers) = (2, 3);
/// assert_always_greater_than!(votes * 2, servers, "a majority elects", votes = votes);
/// ```
#[macro_export]
macro_rules! assert_always_greater_than {
    ($left:expr, $right:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__compare!(Always, >, minimize, $left, $right, $message $(, $key = $value)*)
    };
}

/// The same of `left < right`.
///
/// Takes what [`assert_always_greater_than!`] takes.
#[macro_export]
macro_rules! assert_always_less_than {
    ($left:expr, $right:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__compare!(Always, <, maximize, $left, $right, $message $(, $key = $value)*)
    };
}

/// [`assert_sometimes!`](crate::assert_sometimes) of `left > right`, and lets the search look for
/// what brings them nearer to it.
///
/// Takes what [`assert_always_greater_than!`] takes.
#[macro_export]
macro_rules! assert_sometimes_greater_than {
    ($left:expr, $right:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__compare!(Sometimes, >, maximize, $left, $right, $message $(, $key = $value)*)
    };
}

/// The same of `left < right`.
///
/// Takes what [`assert_always_greater_than!`] takes.
#[macro_export]
macro_rules! assert_sometimes_less_than {
    ($left:expr, $right:expr, $message:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__compare!(Sometimes, <, minimize, $left, $right, $message $(, $key = $value)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __compare {
    ($kind:ident, $than:tt, $guide:ident, $left:expr, $right:expr, $message:expr
        $(, $key:ident = $value:expr)*) => {{
        let (left, right) = ($left, $right);
        $crate::$guide!($message, (left as i128).saturating_sub(right as i128));
        $crate::__assert!(
            $kind, left $than right, $message, left = left, right = right $(, $key = $value)*
        )
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_greater_value_is_told() {
        let guide = Guide::new("");
        let heard = [-3, -3, 5, 4, i64::MAX].map(|value| guide.is_news(value));
        assert_eq!(heard, [true, false, true, false, true]);
    }

    #[test]
    fn arguments_are_evaluated_once_whatever_number_they_are() {
        let mut evaluated = 0;
        let mut count = || {
            evaluated += 1;
            evaluated
        };
        maximize!("small", 1u8);
        minimize!("real", -2.5f64);
        maximize!("large", usize::MAX);
        assert_always_less_than!(count(), count(), "first", seen = count());
        assert_sometimes_greater_than!(count() as u64, 1, "second");
        assert_always_greater_than!(i64::MAX, i64::MIN, "third");
        assert_sometimes_less_than!(1.5, 2.5, "fourth");
        assert_eq!(evaluated, 4);
    }
}
