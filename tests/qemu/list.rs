//! What host and machine say to each other: the list of commands, a file in the initramfs,
//! and the lines by which the machine tells how they go.

use std::path::PathBuf;
use std::time::Duration;

use super::{Command, Ending};

/// The list of commands in the initramfs.
pub const COMMANDS: &str = "/commands";
/// The folder of modules in the initramfs, inserted in the order of their names.
pub const MODULES: &str = "/modules";

/// Begins each line of the machine itself; others are output of the command that runs.
const MARK: char = '\x1e';

/// Writes `commands` for the machine, as strings that each end with a zero byte.
pub fn encode(commands: &[Command]) -> Vec<u8> {
    let mut fields = Vec::new();
    for command in commands {
        fields.push(command.executable.display().to_string());
        fields.push(command.folder.display().to_string());
        fields.push(command.timeout.as_millis().to_string());
        fields.push(command.arguments.len().to_string());
        fields.extend(command.arguments.iter().cloned());
        fields.push(command.environment.len().to_string());
        for (name, value) in &command.environment {
            fields.extend([name.clone(), value.clone()]);
        }
    }
    fields
        .iter()
        .flat_map(|f| [f.as_bytes(), b"\0"])
        .flatten()
        .copied()
        .collect()
}

/// Reads what [`encode`] wrote; none if it is something else.
pub fn decode(bytes: &[u8]) -> Option<Vec<Command>> {
    let text = String::from_utf8_lossy(bytes);
    let mut fields = text.split_terminator('\0');
    let mut commands = Vec::new();
    while let Some(executable) = fields.next() {
        let mut command = Command::new(PathBuf::from(executable)).folder(fields.next()?);
        let timeout = fields.next()?.parse().ok()?;
        command.timeout = Duration::from_millis(timeout);
        for _ in 0..fields.next()?.parse::<usize>().ok()? {
            command.arguments.push(fields.next()?.to_owned());
        }
        for _ in 0..fields.next()?.parse::<usize>().ok()? {
            command
                .environment
                .push((fields.next()?.to_owned(), fields.next()?.to_owned()));
        }
        commands.push(command);
    }
    Some(commands)
}

/// What the machine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// `/dev/kvm` is there.
    Ready,
    /// The next command ended, after so long.
    Ended(Ending, Duration),
    /// Nothing can be run, and why.
    Trouble(String),
    /// All commands have ended.
    Done,
}

impl News {
    /// The line that says it.
    pub fn line(&self) -> String {
        let text = match self {
            News::Ready => "ready".to_owned(),
            News::Ended(ending, took) => {
                let ending = match ending {
                    Ending::Exited(status) => format!("exited {status}"),
                    Ending::Killed(signal) => format!("killed {signal}"),
                    Ending::TimedOut => "timeout -".to_owned(),
                    Ending::NotStarted(why) => format!("unstarted {}", why.replace('\n', " ")),
                };
                format!("ended {} {ending}", took.as_millis())
            }
            News::Trouble(why) => format!("trouble {}", why.replace('\n', " ")),
            News::Done => "done".to_owned(),
        };
        format!("{MARK}{text}\n")
    }

    /// What `line` says; none if it is output of a command.
    pub fn parse(line: &str) -> Option<News> {
        let text = line.strip_prefix(MARK)?.trim_end();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "ready" => Some(News::Ready),
            "done" => Some(News::Done),
            "trouble" => Some(News::Trouble(rest.to_owned())),
            "ended" => {
                let mut words = rest.splitn(3, ' ');
                let took = Duration::from_millis(words.next()?.parse().ok()?);
                let ending = match (words.next()?, words.next()?) {
                    ("exited", status) => Ending::Exited(status.parse().ok()?),
                    ("killed", signal) => Ending::Killed(signal.parse().ok()?),
                    ("timeout", _) => Ending::TimedOut,
                    ("unstarted", why) => Ending::NotStarted(why.to_owned()),
                    _ => return None,
                };
                Some(News::Ended(ending, took))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_arrive_as_they_were() {
        let first = Command::new("/a b")
            .arguments(["", "x\ny"])
            .variable("K", "v=1");
        let commands = [first, Command::new("/c").seconds(7).folder("/d")];
        let bytes = encode(&commands);
        let again = decode(&bytes).unwrap();
        assert_eq!(format!("{again:?}"), format!("{commands:?}"));
        assert!(decode(&bytes[..bytes.len() - 3]).is_none());
    }

    #[test]
    fn news_are_understood_and_output_is_none() {
        let took = Duration::from_millis(12);
        let endings = [
            Ending::Exited(-1),
            Ending::Killed(9),
            Ending::TimedOut,
            Ending::NotStarted("no such file".into()),
        ];
        let mut news: Vec<News> = endings.map(|e| News::Ended(e, took)).into();
        news.extend([News::Ready, News::Done, News::Trouble("no kvm".into())]);
        for one in news {
            assert_eq!(News::parse(&one.line()), Some(one));
        }
        assert_eq!(News::parse("ready"), None);
        assert_eq!(News::parse("\x1eended soon"), None);
    }
}
