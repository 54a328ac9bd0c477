//! `coordinator run -- PROGRAM`: a program that can reach nothing but the proxy.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::arguments::Globals;
use crate::exit::{Exit, Trouble};

/// The hidden command that becomes the program.
pub const INSIDE: &str = "run-inside";

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// As [`Run`], from within.
#[derive(Debug, clap::Args)]
pub struct Inside {
    /// Where the other process listens
    socket: PathBuf,
    /// What the program reaches without the proxy
    direct: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

fn not_isolated(why: impl ToString) -> Trouble {
    Trouble::new(Exit::Refused, "isolation_unavailable", why.to_string())
}

#[cfg(not(target_os = "linux"))]
pub fn run(_: &Globals, _: Run) -> anyhow::Result<ExitCode> {
    let why = "a program can be kept from the network on Linux only; `coordinator proxy` applies the rules to programs that use \
               it, on any system";
    Err(not_isolated(why).into())
}

#[cfg(not(target_os = "linux"))]
pub fn inside(_: Inside) -> anyhow::Result<ExitCode> {
    Err(not_isolated("a program can be kept from the network on Linux only").into())
}

#[cfg(target_os = "linux")]
pub use linux::{inside, run};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use network::Host;
    use proxy::isolate::NotIsolated;
    use proxy::isolate::inside::become_program;
    use proxy::isolate::outside::{Isolated, exit_code};

    use super::*;
    use crate::desk::{Desk, block_on};
    use crate::proxy::server;
    use crate::{logs, output};

    /// Runs it, and ends as it ends.
    pub fn run(globals: &Globals, run: Run) -> anyhow::Result<ExitCode> {
        logs::start();
        let settings = globals.settings()?;
        block_on(async {
            let desk = Desk::open(settings, globals.json).await?;
            let ourselves = std::env::current_exe()?;
            let mut rest = vec![OsString::from(direct(&desk).await?), OsString::from("--")];
            rest.extend(run.program);
            let (isolated, listener) = Isolated::start(&ourselves, &[INSIDE], &rest).await.map_err(not_isolated)?;
            tokio::select! {
                ended = isolated.ended() => Ok(ExitCode::from(exit_code(ended?))),
                () = server(&desk).serve(listener) => Ok(Exit::Defect.into()),
            }
        })
    }

    /// What the program reaches on its own loopback interface, where services are that it starts itself; but what the rules
    /// list there is outside, and reached through the proxy.
    async fn direct(desk: &Desk) -> anyhow::Result<String> {
        let rules = desk.coordinator.network_rules_of(desk.project(), &desk.caller).await.map_err(Trouble::from)?;
        let is_outside = |name: &str| {
            let host = Host::parse(name).ok();
            rules.allow.iter().any(|rule| rule.host().is_some_and(|ours| Some(ours) == host.as_ref()))
        };
        let own = [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")];
        let own: Vec<&str> = own.into_iter().filter(|(name, _)| !is_outside(name)).map(|(_, shown)| shown).collect();
        Ok(own.join(","))
    }

    /// Becomes the program, or tells why not as a shell would.
    pub fn inside(inside: Inside) -> anyhow::Result<ExitCode> {
        let error = become_program(&inside.socket, &inside.direct, &inside.program);
        if error.get_ref().is_some_and(|inner| inner.is::<NotIsolated>()) {
            // The other process tells of it.
            return Ok(Exit::Refused.into());
        }
        let program = inside.program.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        output::complain(format_args!("{program}: {error}"));
        Ok(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
    }
}
