//! `coordinator message`: what agents, and people, tell each other about the work they share.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::Exit;
use crate::fields::{items, some, text, when};
use crate::output;

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub enum Message {
    /// Send one
    Send(Send),
    /// Show what was sent to you and you have not read; it is read then
    Read(Read),
    /// Show what was sent, whoever it is for
    List(List),
}

/// What to send, and to whom.
#[derive(Debug, clap::Args)]
pub struct Send {
    /// What to say
    text: String,
    /// To this agent, or to all
    #[arg(long, value_name = "AGENT", required_unless_present = "capability", conflicts_with = "capability")]
    to: Option<String>,
    /// To whoever is here and can do this
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// The lock key or the task that it is about
    #[arg(long, value_name = "KEY")]
    thread: Option<String>,
}

/// How to read.
#[derive(Debug, clap::Args)]
pub struct Read {
    /// If there is none, wait this long for one, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=300))]
    wait: Option<u32>,
}

/// Which to show.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those about this lock key or task
    #[arg(long, value_name = "KEY")]
    thread: Option<String>,
    /// Only those of this agent
    #[arg(long, value_name = "ID")]
    from: Option<String>,
    /// At most this many, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

/// Does it.
pub async fn run(desk: &Desk, message: Message) -> anyhow::Result<Exit> {
    match message {
        Message::Send(send) => self::send(desk, send).await,
        Message::Read(read) => {
            let answer = desk.ask("read_messages", json!({"wait_seconds": read.wait})).await?;
            desk.answer(&answer, |answer| show(items(answer, "messages"), "Nothing new."))
        }
        Message::List(list) => {
            let request = json!({"thread": list.thread, "from": list.from, "limit": list.limit});
            let answer = desk.ask("list_messages", request).await?;
            desk.answer(&answer, |answer| show(items(answer, "messages"), "Nobody has sent a message."))
        }
    }
}

async fn send(desk: &Desk, send: Send) -> anyhow::Result<Exit> {
    let request = json!({
        "to": send.to,
        "to_capability": send.capability,
        "text": send.text,
        "thread": send.thread,
    });
    let answer = desk.ask("send_message", request).await?;
    desk.answer(&answer, |answer| {
        let recipients: Vec<&str> = items(answer, "recipients").iter().filter_map(Value::as_str).collect();
        Ok(output::print(format!("sent to {}", output::printable(&recipients.join(", "))))?)
    })
}

fn show(messages: &[Value], nothing: &str) -> anyhow::Result<()> {
    if messages.is_empty() {
        output::print(nothing)?;
    }
    for message in messages {
        let about = some(message, "thread").map(|thread| format!(" about {thread}")).unwrap_or_default();
        let head =
            format!("{}, {} to {}{about}:", when(message, "sent_at"), text(message, "from"), text(message, "to"));
        output::print(format!("{}\n  {}", output::printable(&head), output::printable(text(message, "text"))))?;
    }
    Ok(())
}
