//! On Linux, a program that can reach nothing but the proxy.
//!
//! The program runs in user and network namespaces of its own, whose network is a loopback interface and nothing else: no
//! route leads out, and no variable or library of the program matters. The one way out is a listening socket that is made
//! inside and handed to the proxy outside, which answers on it. Two processes take part:
//!
//! - [`outside`]: starts the other, receives the socket, passes signals on, and tells how the program ended
//! - [`inside`]: enters the namespaces, hands the socket out, gives up its rights, and becomes the program
//!
//! It is a wall around the network and nothing else: a Unix socket of another service (a container engine's, say) that the
//! program may open by its path stays a way to have that service do what the program cannot.

pub mod inside;
mod loopback;
pub mod outside;

/// The network cannot be taken away from a program on this system: why, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NotIsolated(pub String);

impl NotIsolated {
    fn new(step: &str, error: impl std::fmt::Display) -> Self {
        Self(format!(
            "this system does not let a program have a network of its own ({step}: {error}). It needs Linux with user \
             namespaces: in a container, allow unshare in its seccomp profile; on Ubuntu, allow it in AppArmor \
             (kernel.apparmor_restrict_unprivileged_userns=0, or a profile for this program); elsewhere look at \
             user.max_user_namespaces and kernel.unprivileged_userns_clone. Without it, `coordinator proxy` still applies \
             the rules, to programs that use it"
        ))
    }
}
