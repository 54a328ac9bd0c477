//! `coordinator serve`: the HTTP server, until it is told to stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process;
use std::sync::Arc;

use coordinator::{Coordinator, VERSION};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::Globals;
use crate::connect::Program;
use crate::desk::open;
use crate::exit::{Exit, Trouble};
use crate::{logs, output};

/// Where to listen.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Address to listen on (default: API_HOST, or 127.0.0.1)
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 takes a free one (default: API_PORT, or 8081)
    #[arg(long)]
    port: Option<u16>,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(globals: &Globals, serve: Serve) -> anyhow::Result<Exit> {
    logs::start();
    let flags = [("API_HOST", serve.host), ("API_PORT", serve.port.map(|port| port.to_string()))];
    let settings = globals.settings_with(&flags)?;
    // One thread: a request waits for the database far more than it computes, and the way to another thread and back takes
    // as long as a commit.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (host, port) = (settings.api_host.clone(), settings.api_port);
        let coordinator = Arc::new(open(settings).await?);
        let listener =
            TcpListener::bind((host.as_str(), port)).await.map_err(|error| cannot_listen(&host, port, &error))?;
        // Before anybody is told that we listen, and so might stop us.
        let stop = Stop::listen()?;
        announce(&coordinator, listener.local_addr()?, globals).await?;

        let sweeper = tokio::spawn({
            let coordinator = coordinator.clone();
            async move { coordinator.sweep_forever().await }
        });
        let follower = tokio::spawn({
            let coordinator = coordinator.clone();
            async move { coordinator.follow_github().await }
        });
        let watcher = tokio::spawn({
            let coordinator = coordinator.clone();
            async move { coordinator.watch_branches().await }
        });
        http_api::serve(coordinator, listener, stop.asked()).await?;
        for background in [sweeper, follower, watcher] {
            background.abort();
        }
        Ok(Exit::Done)
    });
    runtime.shutdown_background();
    result
}

fn cannot_listen(host: &str, port: u16, error: &io::Error) -> Trouble {
    let next = if port == u16::MAX { 8081 } else { port + 1 };
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "port {port} on {host} is taken by another program; choose another, such as --port {next}, or 0 for a free one"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("you may not listen on port {port}; choose one from 1024 up, such as --port 8081")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{host} is not an address of this machine; choose --host 127.0.0.1, or 0.0.0.0 for all of them")
        }
        _ => format!("cannot listen on {host}, port {port}: {error}"),
    };
    Trouble::new(Exit::Refused, "cannot_listen", why)
}

/// The signals that end the server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves at the first signal; the second one ends the process at once.
    async fn asked(mut self) {
        self.next().await;
        output::tell("Stopping; requests under way are finished first. Once more stops at once.");
        tokio::spawn(async move {
            self.next().await;
            // Whatever is under way is committed as a whole or not at all.
            process::exit(Exit::Refused as i32);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Says that we listen, where and on what, and how to connect an agent.
async fn announce(coordinator: &Coordinator, address: SocketAddr, globals: &Globals) -> anyhow::Result<()> {
    let settings = coordinator.settings();
    let database = settings.database.describe();
    let project = coordinator.default_project();
    let url = format!("http://{}", reachable(address));
    if globals.json {
        return Ok(output::json(
            &json!({"address": url, "database": database, "project": project, "version": VERSION}),
        )?);
    }
    let program = Program::new(globals.to_find_the_same());
    output::heading(&format!("Agent Coordinator {VERSION} listens on {url}"))?;
    output::print(format_args!("  database  {database}"))?;
    output::print(format_args!("  project   {project}"))?;

    output::print("")?;
    output::heading("To connect an agent on this machine (it needs no server and no key)")?;
    output::print(format_args!("  Claude Code          {}", program.claude_command()))?;
    output::print(format_args!("  or in .mcp.json      {}", program.mcp_json()))?;
    let [table, command, args] = program.codex_toml();
    output::print(format_args!("  ~/.codex/config.toml {table}"))?;
    output::print(format_args!("                       {command}"))?;
    output::print(format_args!("                       {args}"))?;

    output::print("")?;
    output::heading("To connect an agent over HTTP")?;
    output::print(format_args!("  make a key           {}", program.shell(&["keys", "create", "--name", "me"])))?;
    output::print(format_args!("  try it               curl -H 'X-API-Key: KEY' {url}/locks"))?;
    output::print(format_args!("  all operations       {url}/openapi.json"))?;
    output::print(format_args!("  MCP                  {url}/mcp, with the header X-API-Key: KEY"))?;
    let bridge = Program::new(vec![]).shell(&["mcp", "--url", &url]);
    output::print(format_args!("  or as a process      COORDINATION_API_KEY=KEY {bridge}"))?;

    if !coordinator.has_keys().await.map_err(Trouble::from)? {
        output::tell("\nThere is no key yet: every write over HTTP is refused until you make one.");
    }
    if !address.ip().is_loopback() {
        output::tell(format_args!(
            "\nEverybody who can reach {address} can try keys, and HTTP does not hide them: put a TLS proxy in front, or \
             listen on 127.0.0.1."
        ));
    }
    output::tell("\nCtrl-C stops the server.");
    Ok(())
}

/// Where to reach the server from this machine: a server on all addresses is on the loopback one too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_the_loopback_one() {
        let shown = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(shown("[::]:80"), "[::1]:80");
        assert_eq!(shown("192.0.2.7:80"), "192.0.2.7:80");
    }

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let trouble = cannot_listen("127.0.0.1", 8081, &io::ErrorKind::AddrInUse.into());
        assert_eq!(
            trouble.to_string(),
            "port 8081 on 127.0.0.1 is taken by another program; choose another, such as --port 8082, or 0 for a free one"
        );
    }
}
