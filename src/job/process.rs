//! Child processes of jobs: each leads a process group of its own, which ends with the job.
#![expect(unsafe_code, reason = "system calls the standard library does not wrap")]

use std::ffi::{OsStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::limits::{Allowance, Permit};
use super::running;

/// Most children that are kept until the end of a job; each is at least an entry in the process table.
const MAX_CHILDREN: usize = 64;

/// What a command gets as standard input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipe {
    /// Nothing to read, output where that of this process goes.
    None,
    /// Its output comes here.
    Read,
    /// Its input comes from here.
    Write,
}

/// A command that was started.
#[derive(Debug)]
pub(super) struct Started {
    pub pid: u32,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
}

/// The children of the job that runs on one worker.
#[derive(Debug)]
pub(super) struct Children {
    list: Mutex<List>,
    /// How many there may be, of the plugin and of all plugins.
    allowances: [Arc<Allowance>; 2],
}

#[derive(Debug, Default)]
struct List {
    groups: Vec<Group>,
    /// No more may be started: the worker was given up.
    closed: bool,
}

/// A group and its leader. The leader is not reaped before the group is ended: while it is there, even dead, its number
/// cannot be given to a stranger, who would be killed in its place.
#[derive(Debug)]
struct Group(Child, #[expect(dead_code, reason = "held until the group is gone")] [Permit; 2]);

impl Children {
    /// None yet, and never more than the allowances say.
    pub(super) fn within(allowances: [Arc<Allowance>; 2]) -> Self {
        Self { list: Mutex::default(), allowances }
    }

    fn permits(&self) -> Option<[Permit; 2]> {
        let [plugin, all] = &self.allowances;
        Some([plugin.take()?, all.take()?])
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a shell command.
    pub(super) fn start(&self, command: &[u8], pipe: Pipe) -> io::Result<Started> {
        let mut list = self.lock();
        if list.closed {
            return Err(io::Error::other("the job has ended"));
        }
        if list.groups.len() >= MAX_CHILDREN {
            drop(list.groups.remove(0));
        }
        let permits = self.permits().or_else(|| {
            // Those of this job that have ended make room.
            list.groups.retain(|group| !matches!(group.status(), Ok(Some(_))));
            self.permits()
        });
        let permits =
            permits.ok_or_else(|| io::Error::other("too many child processes run already (--job-children)"))?;
        let mut shell = shell(command);
        if pipe == Pipe::Write {
            shell.stdin(Stdio::piped());
        }
        if pipe == Pipe::Read {
            shell.stdout(Stdio::piped());
        }
        let mut child = running::start(&mut shell)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let pid = child.id();
        list.groups.push(Group(child, permits));
        Ok(Started { pid, stdin, stdout })
    }

    /// The wait status of a command that has ended; `None` while it runs. A command that is not known has ended with 0.
    pub(super) fn status(&self, pid: u32) -> io::Result<Option<c_int>> {
        match self.lock().groups.iter().find(|group| group.0.id() == pid) {
            Some(group) => group.status(),
            None => Ok(Some(0)),
        }
    }

    /// Ends all groups.
    pub(super) fn end(&self) {
        let mut list = self.lock();
        if !list.groups.is_empty() {
            list.groups.clear();
        }
    }

    /// Ends all groups and refuses new ones.
    pub(super) fn close(&self) {
        let mut list = self.lock();
        list.closed = true;
        list.groups.clear();
    }
}

impl Group {
    fn status(&self) -> io::Result<Option<c_int>> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the kernel writes at most one siginfo_t, which is what the pointer leads to.
        let failed = unsafe { libc::waitid(libc::P_PID, self.0.id(), info.as_mut_ptr(), flags) } != 0;
        if failed {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all bits zero is a valid siginfo_t, and the call leaves it so or fills it in.
        let info = unsafe { info.assume_init() };
        // SAFETY: waitid fills in the fields of SIGCHLD, or leaves zeros.
        if unsafe { info.si_pid() } == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let status = unsafe { info.si_status() };
        // The form that wait() has and scripts know: code in the second byte, or the signal in the first.
        Ok(Some(if info.si_code == libc::CLD_EXITED { (status & 0xFF) << 8 } else { status & 0x7F }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.id();
        {
            let mut running = running::lock();
            running.forget(leader);
            kill_group(leader);
        }
        // The leader has just been killed; only the kernel can keep it waiting.
        _ = self.0.wait();
    }
}

/// A shell that runs a command and leads a process group of its own.
pub(super) fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(OsStr::from_bytes(command)).process_group(0);
    // Not inherited: standard input may be the capture.
    shell.stdin(Stdio::null());
    shell
}

/// Kills the process group of a child that has not been reaped.
pub(super) fn kill_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    // SAFETY: sends a signal; the group is our child's, which has not been reaped.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// Waits until `fd` can be read or written without blocking; false after `limit` or an interruption by a signal.
pub(super) fn wait_for(fd: BorrowedFd<'_>, pipe: Pipe, limit: Duration) -> io::Result<bool> {
    let events = if pipe == Pipe::Write { libc::POLLOUT } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let millis = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the pointer leads to one pollfd and the count says so; the descriptor is borrowed, hence open.
    let ready = unsafe { libc::poll(&raw mut entry, 1, millis) };
    if ready >= 0 {
        return Ok(ready > 0);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        error => Err(error),
    }
}
