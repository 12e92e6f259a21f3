//! Answers as people read and write them: `vm 1's call 3, random_choice(5), answers 2`.

use std::fmt;
use std::str::FromStr;

use super::Input;

/// A text that is no answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the answer to a call, as in `vm 1's call 3, random_choice(5), answers 2` or `vm 0's call 1, get_random(), answers 7`"
)]
pub struct NoInput;

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Input {
            vm,
            number,
            options,
            answer,
        } = self;
        write!(f, "vm {vm}'s call {number}, ")?;
        match options {
            0 => write!(f, "get_random(), answers {answer}"),
            _ => write!(f, "random_choice({options}), answers {answer}"),
        }
    }
}

impl FromStr for Input {
    type Err = NoInput;

    fn from_str(text: &str) -> Result<Input, NoInput> {
        let read = || {
            let (vm, rest) = text.trim().strip_prefix("vm ")?.split_once("'s call ")?;
            let (number, rest) = rest.split_once(", ")?;
            let (call, answer) = rest.split_once(", answers ")?;
            let options = match call {
                "get_random()" => 0,
                _ => {
                    let options = call.strip_prefix("random_choice(")?.strip_suffix(')')?;
                    options.parse().ok().filter(|options| *options >= 2)?
                }
            };
            let input = Input {
                vm: vm.parse().ok()?,
                number: number.parse().ok()?,
                options,
                answer: answer.parse().ok()?,
            };
            let possible = input.number > 0 && (options == 0 || input.answer < options);
            possible.then_some(input)
        };
        read().ok_or(NoInput)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_is_written() {
        for text in [
            "vm 1's call 3, random_choice(5), answers 2",
            "vm 0's call 1, get_random(), answers 18446744073709551615",
        ] {
            assert_eq!(text.parse::<Input>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "",
            "vm 1's call 3, random_choice(5), answers 5",
            "vm 1's call 3, random_choice(1), answers 0",
            "vm 1's call 3, random_choice(0), answers 0",
            "vm 1's call 0, random_choice(5), answers 1",
            "vm x's call 1, random_choice(5), answers 1",
            "vm 1's call 1, roll_dice(), answers 1",
            "vm 1's call 1, get_random(), answers -1",
        ] {
            assert_eq!(text.parse::<Input>(), Err(NoInput), "{text}");
        }
    }
}
