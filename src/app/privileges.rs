//! Giving up rights: becoming another user for good, with no right left but that to capture.
#![expect(
    unsafe_code,
    reason = "users, groups and capabilities of a process have no safe wrapper among the crates in use"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};

/// Number of the capability to open packet sockets.
const CAP_NET_RAW: u32 = 13;
/// Numbers of capabilities that kernels know are below this.
const MOST_CAPABILITIES: u32 = 64;
/// Version of the structures that `capset` takes.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Bytes for what the user database says of one user.
const ENTRY_BYTES: usize = 16 << 10;

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Opening packet sockets: an interface that went down has to be opened again.
    Capture,
}

/// Whether this process has the rights of root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

impl User {
    /// The user of a name, or of a number.
    ///
    /// # Errors
    /// When there is none, it is root, or only root could become it.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let user = lookup(name).with_context(|| format!("--user {name}"))?;
        if user.uid == 0 {
            bail!("--user {name}: this is root; name a user without rights, such as nobody");
        }
        if !is_root() {
            bail!("--user {name}: only root can become another user; leave the option out or use sudo");
        }
        Ok(user)
    }

    /// Gives a file or directory to the user, so that it can be written, opened again and taken away. What does not exist is
    /// passed over, and so are links.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        let Ok(there) = std::fs::symlink_metadata(path) else { return Ok(()) };
        if !there.is_file() && !there.is_dir() && !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Becomes the user: groups, user and group, capabilities; no way back, neither for programs that are started. Threads
    /// that run already lose all rights as well.
    ///
    /// # Errors
    /// When the system refuses, or rights are left that should not be.
    pub fn become_for_good(&self, keep: Keep) -> anyhow::Result<()> {
        let failed = |what: &'static str| move || format!("--user {}: {what}", self.name);
        // SAFETY: no pointers; the last arguments are not used by this operation.
        done(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }).with_context(failed("keeping capabilities"))?;
        for number in (0..MOST_CAPABILITIES).filter(|number| keep == Keep::Nothing || *number != CAP_NET_RAW) {
            // SAFETY: no pointers. Fails for numbers that the kernel does not know, and where it may not be done: then
            // the checks below tell.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        }
        // SAFETY: a length of zero makes the kernel read nothing.
        done(unsafe { libc::setgroups(0, std::ptr::null()) }).with_context(failed("leaving groups"))?;
        // SAFETY: no pointers.
        done(unsafe { libc::setresgid(self.gid, self.gid, self.gid) }).with_context(failed("changing group"))?;
        // SAFETY: no pointers.
        done(unsafe { libc::setresuid(self.uid, self.uid, self.uid) }).with_context(failed("changing user"))?;
        set_capabilities(keep).with_context(failed("giving up capabilities"))?;
        // SAFETY: no pointers. Programs that are started cannot get rights back by their files' bits.
        done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
            .with_context(failed("giving up new rights"))?;
        // SAFETY: no pointers; this has to fail.
        if unsafe { libc::setresuid(0, 0, 0) } == 0 {
            bail!("--user {}: the way back to root is still open", self.name);
        }
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn done(outcome: libc::c_int) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn lookup(name: &str) -> anyhow::Result<User> {
    let text = CString::new(std::ffi::OsStr::new(name).as_bytes())?;
    let number: Option<u32> = name.parse().ok();
    // SAFETY: all fields are integers or pointers that are read only after the call has set them; zeros are valid.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut buffer = vec![0; ENTRY_BYTES];
    let mut found = std::ptr::null_mut();
    let outcome = match number {
        None => {
            // SAFETY: all pointers are to live values, the text ends with NUL, and the length is that of the buffer.
            unsafe {
                libc::getpwnam_r(text.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
            }
        }
        Some(number) => {
            // SAFETY: all pointers are to live values, and the length is that of the buffer.
            unsafe { libc::getpwuid_r(number, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) }
        }
    };
    if outcome != 0 {
        return Err(io::Error::from_raw_os_error(outcome).into());
    }
    if found.is_null() {
        match number {
            // Users without an entry are for containers.
            Some(uid) => return Ok(User { name: name.to_owned(), uid, gid: uid }),
            None => bail!("there is no such user; add one with: sudo useradd --system {name}"),
        }
    }
    // SAFETY: the call has found the user, so its name is a text in the buffer, which is still alive.
    let name = unsafe { CStr::from_ptr(entry.pw_name) }.to_string_lossy().into_owned();
    Ok(User { name, uid: entry.pw_uid, gid: entry.pw_gid })
}

/// Head of what `capset` takes.
#[repr(C)]
struct CapabilityHead {
    version: u32,
    pid: i32,
}

/// One half of each of the three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityHalf {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn set_capabilities(keep: Keep) -> io::Result<()> {
    let kept = if keep == Keep::Capture { 1 << CAP_NET_RAW } else { 0 };
    let head = CapabilityHead { version: CAPABILITY_VERSION_3, pid: 0 };
    let halves = [CapabilityHalf { effective: kept, permitted: kept, inheritable: 0 }, CapabilityHalf::default()];
    // SAFETY: the structures are those of version 3, two halves, and alive during the call.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw const head, halves.as_ptr()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps rights that a service manager gave from the programs that plugins start.
pub fn keep_from_children() {
    let (all, zero) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: no pointers. It cannot fail but on kernels that have no such rights.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, all, zero, zero, zero) };
}

/// Takes the right to capture from this thread and those it starts; what runs scripts and reads no interface needs none.
pub fn forgo_capture() {
    if !is_root() {
        // Giving up what one has not got is no failure.
        let _ = set_capabilities(Keep::Nothing);
    }
}

#[cfg(test)]
mod tests {
    use super::lookup;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = lookup("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(lookup("0").unwrap().name(), "root");
        assert_eq!(lookup("4000000000").unwrap().uid, 4_000_000_000);
        let text = lookup("no-such-user").unwrap_err().to_string();
        assert!(text.starts_with("there is no such user"), "{text}");
        assert!(lookup("a\0b").is_err());
    }
}
