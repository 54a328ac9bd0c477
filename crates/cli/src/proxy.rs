//! `coordinator proxy`: the way out to the network, for programs that ask for it: HTTP_PROXY and HTTPS_PROXY.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use coordinator::Coordinator;
use coordinator::failure::Failure;
use model::id::Caller;
use network::{Target, Verdict};
use proxy::{Gate, GateClosed, Limits, Proxy as Server, System};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Globals;
use crate::desk::{Desk, at_desk};
use crate::exit::{Exit, Trouble};
use crate::output;

/// Where to listen.
#[derive(Debug, clap::Args)]
pub struct Proxy {
    /// Port to listen on, on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8082)]
    port: u16,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(globals: &Globals, proxy: Proxy) -> anyhow::Result<Exit> {
    at_desk(globals, async |desk| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, proxy.port)).await.map_err(|error| {
            let why = format!("cannot listen on 127.0.0.1, port {}: {error}; choose another --port", proxy.port);
            Trouble::new(Exit::Refused, "cannot_listen", why)
        })?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        announce(desk, &listener)?;
        tokio::select! {
            () = server(desk).serve(listener) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(Exit::Done)
    })
}

fn announce(desk: &Desk, listener: &TcpListener) -> io::Result<()> {
    let url = format!("http://{}", listener.local_addr()?);
    if desk.json {
        return output::json(
            &json!({"address": url, "agent_id": desk.caller.agent_id, "agent_type": desk.caller.agent_type}),
        );
    }
    output::heading(&format!("The proxy for {} listens on {url}", desk.caller.agent_id))?;
    output::print(format_args!("  export HTTP_PROXY={url} HTTPS_PROXY={url} http_proxy={url} https_proxy={url}"))?;
    output::tell(
        "\nIt binds programs that heed these variables; `coordinator run -- PROGRAM` binds any. Ctrl-C stops it.",
    );
    Ok(())
}

/// The proxy for the desk's caller.
pub fn server(desk: &Desk) -> Arc<Server> {
    // The proxy outlives the session of whoever starts it, and gives it no sign of life.
    let caller = Caller { session_id: None, ..desk.caller.clone() };
    let gate = Rules { coordinator: desk.coordinator.clone(), caller };
    Arc::new(Server::new(Arc::new(gate), Arc::new(System), Limits::default()))
}

/// Decides by the project's rules.
struct Rules {
    coordinator: Arc<Coordinator>,
    caller: Caller,
}

#[async_trait]
impl Gate for Rules {
    async fn judge(&self, target: &Target) -> Result<Verdict, GateClosed> {
        let judged = self.coordinator.judge_network(self.coordinator.default_project(), &self.caller, target).await;
        judged.map_err(|failure| closed(&failure))
    }

    async fn admit(&self, target: &Target, addresses: &[IpAddr]) -> Result<Verdict, GateClosed> {
        let project = self.coordinator.default_project();
        let admitted = self.coordinator.admit_network(project, &self.caller, target, addresses).await;
        admitted.map_err(|failure| closed(&failure))
    }
}

fn closed(failure: &Failure) -> GateClosed {
    GateClosed(failure.message())
}
