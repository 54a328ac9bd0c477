//! `coordinator watch`: what happens, as it happens.

use coordinator::events::{EventFilter, Follower};

use crate::audit;
use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::output;

/// Which events.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only what this agent does
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Only these operations, such as acquire_lock; may be repeated
    #[arg(long, value_name = "NAME")]
    operation: Vec<String>,
    /// Only what is refused
    #[arg(long)]
    refused: bool,
    /// Begin behind this event, or at the beginning with 0, instead of now
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
}

/// Prints each event as it happens, until it is interrupted. With --json one event a line.
pub async fn run(desk: &Desk, watch: Watch) -> anyhow::Result<Exit> {
    let filter =
        EventFilter { agent_id: watch.agent, operations: watch.operation, success: watch.refused.then_some(false) };
    let follower = Follower::start(&*desk.coordinator, desk.project().clone(), filter, watch.after).await;
    let mut follower = follower.map_err(Trouble::from)?;
    if !desk.json {
        output::tell(format_args!("Watching {}; Ctrl-C ends it.", desk.project()));
    }
    loop {
        for event in follower.next().await.map_err(Trouble::from)? {
            let event = serde_json::to_value(event)?;
            output::print(if desk.json { event.to_string() } else { audit::in_a_line(&event) })?;
        }
    }
}
