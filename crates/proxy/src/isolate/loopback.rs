//! Brings the loopback interface up, as `ip link set lo up` does, by one netlink message.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST_AND_ACK: u16 = 1 | 4;
const IFF_UP: u32 = 1;
/// A new network namespace has this interface and no other.
const LOOPBACK: i32 = 1;

/// Brings it up, in the namespace of this thread.
pub fn up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &message(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1024];
    let (read, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // A header of 16 bytes, whose type is at 4; then 0, or an error's number below it.
    let answer = answer.get(..read).unwrap_or_default();
    let (Some(kind), Some(code)) = (answer.get(4..6), answer.get(16..20)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    if u16::from_ne_bytes([kind[0], kind[1]]) != NLMSG_ERROR {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// `struct nlmsghdr` and `struct ifinfomsg`.
fn message() -> Vec<u8> {
    const LENGTH: u32 = 32;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    // Sequence number, sender.
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // Family, padding, type of device: any.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    // The flags, and which of them to change.
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}
