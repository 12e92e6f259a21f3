//! Programs that a test's body runs beside itself: those that the test packs, and any other
//! file of the VM. The agent is their parent; this is how a body asks for them.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::thread::{self, JoinHandle};
use std::{env, fs};

use crate::lines::Lines;
use crate::protocol::{Message, NO_FILE, PROGRAMS, Reply, Request, SOCKET, Stream};
use crate::transport::send;

/// SIGKILL's number.
const KILL: i32 = 9;
/// SIGTERM's number.
const TERMINATE: i32 = 15;

/// A program that can be run in this VM, made by [`Node::command`](crate::Node::command);
/// used as [`std::process::Command`].
///
/// It inherits the environment and working directory of the body, and has an empty standard
/// input. What it writes is in the report's timeline, by line and under its name. If it ends
/// by a signal or with a status other than 0, the test **fails**, unless a fault or the body
/// has ended it, or [`may_fail`](Self::may_fail) was called.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    cleared: bool,
    directory: Option<PathBuf>,
    input: Vec<u8>,
    may_fail: bool,
}

impl Command {
    pub(crate) fn new(program: &OsStr) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            cleared: false,
            directory: None,
            input: Vec::new(),
            may_fail: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let value = Some(value.as_ref().to_owned());
        self.environment.push((key.as_ref().to_owned(), value));
        self
    }

    /// Takes an environment variable away.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push((key.as_ref().to_owned(), None));
        self
    }

    /// Takes all environment variables away.
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.clear();
        self.cleared = true;
        self
    }

    /// Sets the working directory.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets what the program reads from its standard input.
    pub fn stdin(&mut self, input: impl Into<Vec<u8>>) -> &mut Self {
        self.input = input.into();
        self
    }

    /// Lets the program end in any way without failing the test.
    pub fn may_fail(&mut self) -> &mut Self {
        self.may_fail = true;
        self
    }

    /// Starts the program. It goes on when the [`Child`] is dropped, and when the body is
    /// done.
    ///
    /// # Errors
    /// `NotFound` if the test packs no program of this name; else what the kernel says of
    /// the file, the working directory, or want of memory.
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.start([NO_FILE; 2])
    }

    /// Runs the program to its end; answers how it ended.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the program to its end; answers also what it wrote, which is in the timeline
    /// nevertheless.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&mut self) -> io::Result<Output> {
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        let mut child = self.start([out_end.as_raw_fd(), err_end.as_raw_fd()])?;
        drop((out_end, err_end));
        let (pid, name) = (child.pid, self.name());
        let other = name.clone();
        let err = thread::spawn(move || collect(err, pid, &other, Stream::Stderr));
        let stdout = collect(out, pid, &name, Stream::Stdout)?;
        let stderr = joined(err)?;
        Ok(Output {
            status: child.wait()?,
            stdout,
            stderr,
        })
    }

    /// What reports call the program.
    fn name(&self) -> String {
        let file = Path::new(&self.program).file_name();
        file.unwrap_or_default().to_string_lossy().into_owned()
    }

    fn start(&self, [stdout, stderr]: [i32; 2]) -> io::Result<Child> {
        let path = find(&self.program)?;
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => env::current_dir()?,
        };
        let input = match self.input.is_empty() {
            true => None,
            false => Some(io::pipe()?),
        };
        let request = Request::Start {
            path: path.as_os_str().as_bytes(),
            name: &self.name(),
            arguments: &list(self.arguments.iter().cloned())?,
            environment: &list(self.variables())?,
            directory: directory.as_os_str().as_bytes(),
            process: std::process::id() as i32,
            stdin: input.as_ref().map_or(NO_FILE, |(end, _)| end.as_raw_fd()),
            stdout,
            stderr,
            may_fail: self.may_fail,
        };
        let mut agent = Agent::connect()?;
        agent.ask(&request)?;
        match agent.answer()? {
            Reply::Started { pid } => {
                if let Some((_, end)) = input {
                    feed(end, self.input.clone());
                }
                Ok(Child {
                    agent,
                    pid,
                    status: None,
                })
            }
            Reply::Failed { errno } => Err(io::Error::from_raw_os_error(errno)),
            Reply::Ended { .. } => Err(senseless()),
        }
    }

    /// The environment, a `NAME=value` each.
    fn variables(&self) -> impl Iterator<Item = OsString> {
        let inherited = env::vars_os().filter(|_| !self.cleared);
        let mut variables: Vec<(OsString, OsString)> = inherited.collect();
        for (key, value) in &self.environment {
            variables.retain(|(other, _)| other != key);
            variables.extend(value.iter().map(|value| (key.clone(), value.clone())));
        }
        variables.into_iter().map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            key
        })
    }
}

/// A program that was started with [`Command::spawn`].
#[derive(Debug)]
pub struct Child {
    agent: Agent,
    pid: i32,
    status: Option<ExitStatus>,
}

impl Child {
    /// Its process number.
    pub fn id(&self) -> u32 {
        self.pid as u32
    }

    /// Waits for its end; answers how it ended.
    ///
    /// # Errors
    /// The agent is gone, and with it the VM.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        match self.agent.answer()? {
            Reply::Ended { status } => Ok(*self.status.insert(ExitStatus::from_raw(status))),
            Reply::Started { .. } | Reply::Failed { .. } => Err(senseless()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && !self.agent.has_answered()? {
            return Ok(None);
        }
        self.wait().map(Some)
    }

    /// Ends it at once (SIGKILL), which is no failure. Nothing happens if it has ended.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn kill(&mut self) -> io::Result<()> {
        self.end(KILL)
    }

    /// Asks it to end (SIGTERM); whatever it then ends with is no failure.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn terminate(&mut self) -> io::Result<()> {
        self.end(TERMINATE)
    }

    fn end(&mut self, signal: i32) -> io::Result<()> {
        match self.try_wait()? {
            Some(_) => Ok(()),
            None => self.agent.ask(&Request::End { signal }),
        }
    }
}

/// A connection to the agent, about one program.
#[derive(Debug)]
struct Agent {
    stream: UnixStream,
    /// What has come of a reply.
    reply: [u8; Reply::SIZE],
    received: usize,
}

impl Agent {
    fn connect() -> io::Result<Self> {
        Ok(Self {
            stream: UnixStream::connect(SOCKET)?,
            reply: [0; Reply::SIZE],
            received: 0,
        })
    }

    fn ask(&mut self, request: &Request<'_>) -> io::Result<()> {
        let lists = match request {
            Request::Start {
                arguments,
                environment,
                ..
            } => arguments.len() + environment.len(),
            Request::End { .. } => 0,
        };
        // Besides them there are two paths and a name.
        let mut buffer = vec![0; lists + 16384];
        let length = request.encode(&mut buffer).map_err(|_| {
            let what = "arguments and environment of a program are more than 1 MiB";
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        self.stream.write_all(&buffer[..length])
    }

    /// The next reply; waits for it.
    fn answer(&mut self) -> io::Result<Reply> {
        self.stream.read_exact(&mut self.reply[self.received..])?;
        self.received = 0;
        Reply::decode(&self.reply).map_err(|_| senseless())
    }

    /// Whether the next reply is there.
    fn has_answered(&mut self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(&mut self.reply[self.received..]);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) if self.received < Reply::SIZE => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received += count;
                Ok(self.received == Reply::SIZE)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn senseless() -> io::Error {
    io::Error::other("the agent's answer makes no sense")
}

/// The file of a program: a path as it is, a name as the test packs it.
fn find(program: &OsStr) -> io::Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let list = fs::read_to_string(PROGRAMS).unwrap_or_default();
    let named = |path: &&str| Path::new(path).file_name() == Some(program);
    match list.lines().find(named) {
        Some(path) => Ok(path.into()),
        None => {
            let packed = match list.lines().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => "none".to_owned(),
                some => some,
            };
            let what = format!(
                "no program {program:?} is packed; name it in `binaries` (there are: {packed})"
            );
            Err(io::Error::new(io::ErrorKind::NotFound, what))
        }
    }
}

/// Strings as a request has them, a zero behind each.
fn list(strings: impl Iterator<Item = OsString>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for string in strings {
        if string.as_bytes().contains(&0) {
            let what = "an argument or variable of a program has a zero byte in it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        bytes.append(&mut string.into_vec());
        bytes.push(0);
    }
    Ok(bytes)
}

/// Writes `input` while the program reads it, if it does.
fn feed(mut to: PipeWriter, input: Vec<u8>) {
    thread::spawn(move || to.write_all(&input));
}

/// Reads to the end, and sends each line to the timeline.
fn collect(mut from: PipeReader, pid: i32, name: &str, stream: Stream) -> io::Result<Vec<u8>> {
    let tell = |line: &[u8]| {
        send(&Message::Output {
            pid,
            name,
            stream,
            line,
        });
    };
    let mut lines = Lines::default();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                lines.push(&buffer[..count], tell);
                all.extend_from_slice(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    lines.flush(tell);
    Ok(all)
}

fn joined(thread: JoinHandle<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    let panicked = |_| io::Error::other("the thread that read the output panicked");
    thread.join().map_err(panicked)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_the_bodys_with_changes() {
        let mut command = Command::new(OsStr::new("x"));
        let has = |command: &Command, wanted: &str| command.variables().any(|v| v == *wanted);
        assert_eq!(command.variables().count(), env::vars_os().count());
        command
            .env("A", "1")
            .env("B", "2")
            .env("A", "3")
            .env_remove("B");
        assert!(has(&command, "A=3") && !has(&command, "A=1") && !has(&command, "B=2"));
        assert!(command.env_clear().variables().next().is_none());
        assert!(has(command.env("C", ""), "C="));
    }

    #[test]
    fn strings_with_zeros_are_refused() {
        let of = |text: &str| list([text, "b"].map(OsString::from).into_iter());
        assert_eq!(of("a").unwrap(), b"a\0b\0");
        assert_eq!(of("a\0").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_program_that_is_not_packed_is_named() {
        let mut command = Command::new(OsStr::new("nothing"));
        let error = command.spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(
            error.to_string().contains("no program \"nothing\""),
            "{error}"
        );
        assert_eq!(find(OsStr::new("/a/b")).unwrap(), Path::new("/a/b"));
    }
}
