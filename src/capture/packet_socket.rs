//! What libpcap does not do with a packet socket: sharing an interface between engines, and asking for the right.
#![expect(unsafe_code, reason = "packet socket options are not wrapped by any library in use")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Number of a group of sockets that share the packets of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FanoutGroup(u16);

/// Makes a new group with this socket as its first member; packets are dealt out by a hash of the flow that is the same
/// for both directions.
pub(super) fn create_group(socket: BorrowedFd<'_>) -> io::Result<FanoutGroup> {
    set_fanout(socket, (libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16)?;
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live locals, and `len` is the size of the one the kernel writes the value to.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(FanoutGroup(value as u16))
}

/// Makes a socket a member of a group, which comes into being again if all members have left it.
pub(super) fn join_group(socket: BorrowedFd<'_>, group: FanoutGroup) -> io::Result<()> {
    set_fanout(socket, u32::from(group.0) | libc::PACKET_FANOUT_HASH << 16)
}

fn set_fanout(socket: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    // SAFETY: the pointer is to a live argument of the length given.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The index of an interface that exists and is up.
///
/// libpcap fetches the socket's error itself and says nothing of it, so going down has to be looked for.
pub(super) fn index_if_up(socket: BorrowedFd<'_>, name: &str) -> Option<i32> {
    // SAFETY: all fields of the structure are integers, arrays of them or pointers nobody follows; zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero, as the kernel expects it.
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the request is a live structure of the type that this call reads and writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return None;
    }
    // SAFETY: the call above succeeded and wrote this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if libc::c_int::from(flags) & libc::IFF_UP == 0 {
        return None;
    }
    // SAFETY: the request is a live structure of the type that this call reads and writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) } != 0 {
        return None;
    }
    // SAFETY: the call above succeeded and wrote this member of the union.
    Some(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// Whether this process may open packet sockets.
pub(super) fn may_capture() -> bool {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd >= 0 {
        // SAFETY: the descriptor was just opened and nobody else knows it, so it can be closed here.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        return true;
    }
    io::Error::last_os_error().kind() != io::ErrorKind::PermissionDenied
}
