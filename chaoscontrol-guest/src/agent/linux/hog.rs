//! Faults that hold something back: a child process of the agent takes it, says so to the
//! host, and gives it back by its end. So the agent never waits for memory or a disk.
//!
//! A hog is the last that the kernel's OOM killer takes: what suffers is the largest of the
//! guest's own processes, as if one more neighbour had grown. Only if nothing else is left
//! the hog goes, before the kernel would panic.

use std::ffi::CStr;
use std::time::{Duration, Instant};
use std::{fs, io, mem, ptr};

use super::{fill, pressure};
use crate::protocol::Message;
use crate::transport::send;

/// The OOM killer's opinion of a hog: it may go, but after all others.
const LAST_VICTIM: &str = "-999";

/// How long after a hog's end the death of another process may be due to it.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What can be held.
#[derive(Clone, Copy)]
pub enum Resource {
    /// So many of a million bytes that are available.
    Memory { ppm: u32 },
    /// All free space of the data directory's file system.
    Disk,
}

/// A place for one hog at a time.
#[derive(Default)]
pub struct Hog {
    running: Option<Running>,
    /// The order that waits for the end of the running one.
    next: Option<(u32, Option<Resource>)>,
    gone: Option<Instant>,
}

struct Running {
    pid: i32,
    /// Its order's number.
    id: u32,
    /// Whether it was told to end.
    over: bool,
}

impl Hog {
    /// Ends what stands, and then begins with `resource`, if there is one. Order `id` is
    /// confirmed when it has been taken, or when all was given back.
    pub fn order(&mut self, id: u32, resource: Option<Resource>) {
        if let Some((id, _)) = self.next.replace((id, resource)) {
            confirm(id, Err(io::Error::from_raw_os_error(libc::ECANCELED)));
        }
        match &mut self.running {
            None => self.go_on(),
            Some(running) => {
                running.over = true;
                // SAFETY: kill(2) takes integers only. The process is a child that was
                // not waited for, so the number is still its own.
                unsafe { libc::kill(running.pid, libc::SIGTERM) };
            }
        }
    }

    /// The hog's process number, if there is one.
    pub fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Whether what it takes may have cost another process its life.
    pub fn is_felt(&self) -> bool {
        self.running.is_some() || self.gone.is_some_and(|gone| gone.elapsed() < AFTERMATH)
    }

    /// Takes note that the child `pid` has ended with wait status `status`.
    pub fn ended(&mut self, pid: i32, status: libc::c_int) {
        let Some(running) = self.running.take_if(|running| running.pid == pid) else {
            return;
        };
        self.gone = Some(Instant::now());
        if libc::WIFSIGNALED(status) && !running.over {
            // It had no time to say so itself.
            confirm(running.id, Err(io::Error::from_raw_os_error(libc::ENOMEM)));
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        match self.next.take() {
            None => {}
            Some((id, None)) => confirm(id, Ok(())),
            // SAFETY: the agent has one thread, so its child may do what it could itself.
            Some((id, Some(resource))) => match unsafe { libc::fork() } {
                0 => live(id, resource),
                pid if pid < 0 => confirm(id, Err(io::Error::last_os_error())),
                pid => {
                    let over = false;
                    self.running = Some(Running { pid, id, over });
                }
            },
        }
    }
}

/// Tells the host what became of order `id`.
pub fn confirm(id: u32, outcome: io::Result<()>) {
    let errno = match outcome {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    send(&Message::ControlDone { id, errno });
}

/// The child's life.
fn live(id: u32, resource: Resource) -> ! {
    let name: &CStr = match resource {
        Resource::Memory { .. } => c"chaos-memory",
        Resource::Disk => c"chaos-disk",
    };
    // SAFETY: prctl(2) reads the string, which lives as long as the program; the descriptors
    // closed are those that the agent watches, which nobody in this process touches again.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
    let end = End::block();
    let victim = fs::write("/proc/self/oom_score_adj", LAST_VICTIM);
    let taken = victim.and_then(|()| match resource {
        Resource::Memory { ppm } => pressure::take(ppm, &end).map(|()| None),
        Resource::Disk => fill::take().map(Some),
    });
    match taken {
        Ok(disk) => {
            confirm(id, Ok(()));
            while !end.wait(None) {}
            drop(disk);
        }
        Err(error) => confirm(id, Err(error)),
    }
    // SAFETY: _exit(2) ends the process at once, without what the agent has to do at exit.
    unsafe { libc::_exit(0) }
}

/// The signal by which a hog is told to end.
pub struct End(libc::sigset_t);

impl End {
    fn block() -> Self {
        // SAFETY: all-zero bytes are a valid signal set; the calls change only the set
        // they are given, and this thread's mask.
        unsafe {
            let mut set = mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGTERM);
            libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
            Self(set)
        }
    }

    /// Whether the signal has come, after waiting for at most `limit`, or for ever.
    pub fn wait(&self, limit: Option<Duration>) -> bool {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: sigtimedwait(2) reads the set and the time, if there is one, which both
        // outlive the call, and writes nothing through a null pointer.
        unsafe { libc::sigtimedwait(&self.0, ptr::null_mut(), limit) == libc::SIGTERM }
    }
}
