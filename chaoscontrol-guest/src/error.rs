//! The error a test's body returns when it has no type of its own.

use std::fmt;

/// What [`Error`] holds.
type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Any error: `?` turns every `std::error::Error`, `String` and `&str` into it.
pub struct Error(Boxed);

/// The result of a test's body. It takes other error types as its second parameter, so
/// that importing it hides nothing of the standard library's.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl<E: Into<Boxed>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error and what caused it, in words.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_becomes_an_error() {
        fn body(step: u32) -> Result {
            match step {
                0 => Err("text")?,
                1 => Err(String::from("string"))?,
                2 => Err(std::io::Error::other("io"))?,
                _ => Ok(()),
            }
        }
        let texts = [0, 1, 2].map(|step| format!("{:?}", body(step).unwrap_err()));
        assert_eq!(texts, ["text", "string", "io"]);
        assert!(body(3).is_ok());
    }
}
