//! Programs that the body asks for. The agent is their parent, so that what they write and
//! how they end is known even while the body stands still or is gone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use super::AgentError;
use super::output::Pipe;
use crate::protocol::{End, Message, NO_FILE, Reply, Request, SOCKET, Stream};
use crate::transport::send;

/// Descriptors of a client that poll(2) is to watch.
const WATCHED: usize = 3;

/// All programs, and those who asked for them.
pub struct Programs {
    listener: UnixListener,
    clients: Vec<Client>,
}

/// A connection and the program that it is about.
struct Client {
    /// None when the other end is gone; the program goes on without.
    stream: Option<UnixStream>,
    /// Bytes of a request that is not complete.
    pending: Vec<u8>,
    program: Option<Program>,
}

/// A program that was started.
struct Program {
    pid: i32,
    name: String,
    /// Whether its end is nobody's failure.
    allowed: bool,
    /// Whether it has; others may still hold its output open.
    ended: bool,
    output: [Pipe; 2],
}

impl Programs {
    /// Opens the socket on which bodies ask.
    pub fn listen() -> Result<Self, AgentError> {
        let failed = |error| AgentError::new(format!("cannot listen on {SOCKET}"), error);
        let listener = UnixListener::bind(SOCKET).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener,
            clients: Vec::new(),
        })
    }

    /// What poll(2) is to watch; -1 stands for what is gone.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let clients = self.clients.iter().flat_map(Client::descriptors);
        [self.listener.as_raw_fd()].into_iter().chain(clients)
    }

    /// Does what is to be done; `ready` says of each of [`Programs::descriptors`] whether
    /// something has happened there.
    pub fn serve(&mut self, ready: &[bool]) {
        let Some((&knock, ready)) = ready.split_first() else {
            return;
        };
        for (client, ready) in self.clients.iter_mut().zip(ready.chunks(WATCHED)) {
            client.serve(ready);
        }
        self.clients.retain(|client| !client.is_done());
        if knock {
            while let Ok((stream, _)) = self.listener.accept() {
                // One that would block the agent is not listened to.
                let stream = stream.set_nonblocking(true).ok().map(|()| stream);
                self.clients.push(Client {
                    stream,
                    pending: Vec::new(),
                    program: None,
                });
            }
        }
    }

    /// Takes note that a process has ended with this wait status, which means this `end`.
    pub fn ended(&mut self, pid: i32, status: i32, end: End<'_>) {
        let is_it = |p: &&mut Program| p.pid == pid && !p.ended;
        for client in &mut self.clients {
            let Some(program) = client.program.as_mut().filter(is_it) else {
                continue;
            };
            program.ended = true;
            program.output.iter_mut().for_each(Pipe::flush);
            send(&Message::ProgramEnd {
                pid,
                name: &program.name,
                end,
                allowed: program.allowed,
            });
            client.reply(Reply::Ended { status });
        }
    }
}

impl Client {
    fn descriptors(&self) -> [RawFd; WATCHED] {
        let stream = self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let output = self.program.as_ref().map(|program| &program.output);
        let [out, err] = output.map_or([-1; 2], |output| output.each_ref().map(Pipe::descriptor));
        [stream, out, err]
    }

    fn is_done(&self) -> bool {
        let [stream, out, err] = self.descriptors();
        let ended = self.program.as_ref().is_none_or(|program| program.ended);
        ended && [stream, out, err] == [-1; 3]
    }

    fn serve(&mut self, ready: &[bool]) {
        if let Some(program) = &mut self.program {
            for (pipe, _) in program.output.iter_mut().zip(&ready[1..]).filter(|r| *r.1) {
                pipe.forward();
            }
        }
        if ready[0] {
            self.listen();
        }
    }

    /// Takes requests that have come in.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(count) => {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.obey();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.stream = None,
            }
        }
    }

    /// Carries out the requests that are complete.
    fn obey(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        let mut left = bytes.as_slice();
        while self.stream.is_some() {
            match Request::decode(left) {
                Ok(None) => break,
                Ok(Some((request, length))) => {
                    self.carry_out(&request);
                    left = &left[length..];
                }
                // It cannot be followed any further.
                Err(_) => self.stream = None,
            }
        }
        self.pending = left.to_vec();
    }

    fn carry_out(&mut self, request: &Request<'_>) {
        match request {
            Request::Start { .. } if self.program.is_some() => self.stream = None,
            Request::Start { .. } => match start(request) {
                Ok(program) => {
                    let pid = program.pid;
                    self.program = Some(program);
                    self.reply(Reply::Started { pid });
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
                    self.reply(Reply::Failed { errno });
                }
            },
            Request::End { signal } => self.end(*signal),
        }
    }

    fn end(&mut self, signal: i32) {
        if let Some(program) = self.program.as_mut().filter(|program| !program.ended) {
            program.allowed = true;
            // SAFETY: kill(2) takes integers only. The process has not been waited for, so
            // its number is still its own.
            unsafe { libc::kill(program.pid, signal) };
        }
    }

    /// Tells the other end. A socket has room for the few replies that there are.
    fn reply(&mut self, reply: Reply) {
        let told = self.stream.as_mut().map(|s| s.write_all(&reply.encode()));
        if let Some(Err(_)) = told {
            self.stream = None;
        }
    }
}

/// Starts a program as a [`Request::Start`] describes it.
fn start(request: &Request<'_>) -> io::Result<Program> {
    let Request::Start {
        path,
        name,
        arguments,
        environment,
        directory,
        process,
        stdin,
        stdout,
        stderr,
        may_fail,
    } = *request
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = Command::new(OsStr::from_bytes(path));
    command.args(list(arguments)).env_clear();
    for variable in list(environment) {
        let mut parts = variable.as_bytes().splitn(2, |&byte| byte == b'=');
        let [key, value] = [(); 2].map(|()| OsStr::from_bytes(parts.next().unwrap_or_default()));
        command.env(key, value);
    }
    command
        .current_dir(OsStr::from_bytes(directory))
        .stdin(match stdin {
            NO_FILE => Stdio::null(),
            file => File::open(theirs(process, file))?.into(),
        })
        .stdout(sink(process, stdout)?)
        .stderr(sink(process, stderr)?);
    let mut child = command.spawn()?;
    let pid = child.id() as i32;
    send(&Message::ProgramStarted { pid, name });
    let [out, err] = [
        child.stdout.take().map(OwnedFd::from),
        child.stderr.take().map(OwnedFd::from),
    ];
    Ok(Program {
        pid,
        name: name.to_owned(),
        allowed: may_fail,
        ended: false,
        output: [
            Pipe::new(out, pid, name, Stream::Stdout)?,
            Pipe::new(err, pid, name, Stream::Stderr)?,
        ],
    })
}

/// Where output goes: a file of the process that asks, else a pipe of the agent's.
fn sink(process: i32, file: i32) -> io::Result<Stdio> {
    match file {
        NO_FILE => Ok(Stdio::piped()),
        file => Ok(File::options()
            .write(true)
            .open(theirs(process, file))?
            .into()),
    }
}

/// A file that another process has open.
fn theirs(process: i32, file: i32) -> String {
    format!("/proc/{process}/fd/{file}")
}

/// The strings of a list, each with a zero behind it.
fn list(bytes: &[u8]) -> impl Iterator<Item = &OsStr> {
    let strings = bytes.split_inclusive(|&byte| byte == 0);
    strings.map(|string| OsStr::from_bytes(string.strip_suffix(b"\0").unwrap_or(string)))
}
