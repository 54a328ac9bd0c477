//! The process that stays outside, with the proxy.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::time::timeout;

use super::NotIsolated;

/// How long the other process may take to enter the namespaces.
const ENTRY: Duration = Duration::from_secs(20);

/// The signals that are passed on to the program.
const PASSED_ON: [Signal; 6] = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];

/// A program that can reach nothing but the socket on which the proxy is to answer.
pub struct Isolated {
    child: Child,
    /// Heard from before it was started: else one that comes early would end us, and not the program.
    signals: Vec<(Signal, Listener)>,
}

impl Isolated {
    /// Starts this program (`ourselves`, with `arguments`, then the socket's path and whatever else is in `rest`) so that
    /// it calls [`become_program`](super::inside::become_program).
    ///
    /// # Errors
    /// [`NotIsolated`] when the system does not let it.
    pub async fn start(
        ourselves: &Path,
        arguments: &[&str],
        rest: &[OsString],
    ) -> Result<(Self, TcpListener), NotIsolated> {
        let failed = |error: io::Error| NotIsolated(format!("the program could not be started: {error}"));
        let listen = |passed: Signal| Ok((passed, signal(SignalKind::from_raw(passed.as_raw()))?));
        let signals = PASSED_ON.into_iter().map(listen).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        // Nobody else may enter the directory; it is gone when this returns.
        let directory = tempfile::tempdir().map_err(failed)?;
        let path = directory.path().join("way-out");
        let door = UnixListener::bind(&path).map_err(failed)?;
        let mut child = Command::new(ourselves).args(arguments).arg(&path).args(rest).spawn().map_err(failed)?;
        let mut handed = pin!(timeout(ENTRY, hand_over(&door)));
        let handed = tokio::select! {
            handed = &mut handed => handed,
            // What it had to say before it ended is there to be read, if there is anything.
            _ = child.wait() => timeout(Duration::from_millis(200), handed).await.unwrap_or_else(Err),
        };
        let handed = handed.unwrap_or_else(|_| Err(NotIsolated("the program ended before it was isolated".to_owned())));
        match handed {
            Ok(listener) => Ok((Self { child, signals }, listener)),
            Err(why) => {
                // It is not to run with a network.
                let _ = child.kill().await;
                Err(why)
            }
        }
    }

    /// Waits until the program has ended, and passes on to it whatever signals we are sent.
    ///
    /// # Errors
    /// When the system does not let us wait.
    pub async fn ended(mut self) -> io::Result<ExitStatus> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut listeners = tokio::task::JoinSet::new();
        for (passed, mut signals) in std::mem::take(&mut self.signals) {
            listeners.spawn(async move {
                while signals.recv().await.is_some() {
                    if let Some(pid) = pid
                        && !(is_of_keyboard(passed) && terminal_is_ours())
                    {
                        // It may have ended just now.
                        let _ = kill_process(pid, passed);
                    }
                }
            });
        }
        self.child.wait().await
    }
}

/// What a shell would say of it: the exit code, or 128 and the signal's number.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The signals of Ctrl-C and Ctrl-\.
fn is_of_keyboard(signal: Signal) -> bool {
    signal == Signal::INT || signal == Signal::QUIT
}

/// Has the terminal sent its signal to the program as well? Twice is not the same as once: many programs take the second
/// Ctrl-C for impatience.
fn terminal_is_ours() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Receives the socket, or why there is none.
async fn hand_over(door: &UnixListener) -> Result<TcpListener, NotIsolated> {
    let failed = |error: io::Error| NotIsolated(format!("the way out could not be received: {error}"));
    let (inside, _) = door.accept().await.map_err(failed)?;
    let mut said = vec![];
    loop {
        let (text, descriptor) = receive(&inside).await.map_err(failed)?;
        if let Some(descriptor) = descriptor {
            let listener = StdListener::from(descriptor);
            listener.set_nonblocking(true).map_err(failed)?;
            return TcpListener::from_std(listener).map_err(failed);
        }
        if text.is_empty() {
            return Err(NotIsolated(String::from_utf8_lossy(&said).into_owned()));
        }
        said.extend(text);
    }
}

async fn receive(inside: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    inside
        .async_io(Interest::READABLE, || {
            let mut text = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(inside, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let descriptor = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            Ok((text.get(..received.bytes).unwrap_or_default().to_vec(), descriptor))
        })
        .await
}
