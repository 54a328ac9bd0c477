//! The process that becomes the program.

use std::ffi::OsString;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use nix::sched::{CloneFlags, unshare};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getegid, geteuid, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use super::{NotIsolated, loopback};

/// Variables by which programs know their proxy.
const PROXY_VARIABLES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Enters the namespaces, hands the way out to whoever listens at `socket`, and becomes the program. `direct` is what the
/// program is to reach without the proxy, as `NO_PROXY` has it.
///
/// Must be called while the process has one thread. Returns only what went wrong: whoever listens has been told of
/// [`NotIsolated`] already, and anything else is the program's own.
pub fn become_program(socket: &Path, direct: &str, program: &[OsString]) -> io::Error {
    let mut outside = match UnixStream::connect(socket) {
        Ok(outside) => outside,
        Err(error) => return error,
    };
    let port = match enter().and_then(|()| hand_over(&outside)) {
        Ok(port) => port,
        Err(why) => {
            // Nobody is there to be told that nobody is there.
            let _ = outside.write_all(why.to_string().as_bytes());
            return io::Error::other(why);
        }
    };
    drop(outside);
    let [program, arguments @ ..] = program else {
        return io::ErrorKind::InvalidInput.into();
    };
    let proxy = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
    let mut command = Command::new(program);
    command.args(arguments).envs(PROXY_VARIABLES.map(|name| (name, &proxy)));
    command.env("NO_PROXY", direct).env("no_proxy", direct);
    // Node.js heeds the variables only when told to.
    command.env("NODE_USE_ENV_PROXY", "1");
    command.exec()
}

/// Into namespaces of our own, as the same user, with the loopback interface up and no right that is not needed any more.
fn enter() -> Result<(), NotIsolated> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|e| NotIsolated::new("unshare", e))?;
    let map = |file: &str, text: String| fs::write(file, text).map_err(|e| NotIsolated::new(file, e));
    map("/proc/self/uid_map", format!("{user} {user} 1"))?;
    // Without this, the kernel takes no map of groups from a user.
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/gid_map", format!("{group} {group} 1"))?;
    loopback::up().map_err(|e| NotIsolated::new("ip link set lo up", e))?;

    // The program needs none of the rights that the namespace gave us. What the kernel does not know, it cannot take.
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    set_no_new_privs(true).map_err(|e| NotIsolated::new("no_new_privs", e))?;
    // Without the proxy the program is of no use.
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|e| NotIsolated::new("pdeathsig", e))
}

/// Makes the socket that is the way out, and gives it away.
fn hand_over(outside: &UnixStream) -> Result<u16, NotIsolated> {
    let handed = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [listener.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(outside, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())?;
        Ok::<_, io::Error>(listener.local_addr()?.port())
    };
    handed().map_err(|error| NotIsolated::new("handing the way out to the proxy", error))
}
