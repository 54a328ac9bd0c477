//! What can be asked over the bridge: the same commands, with the same options, as `scripts/coordination_bridge.py` has.

use serde_json::Value;

/// Every command.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say whether a coordinator is there and what it can do
    Detect,
    /// Lock what you are about to edit
    Lock {
        /// Path, or logical key such as db:users
        file_path: String,
        /// Why, for whoever waits
        #[arg(long)]
        reason: Option<String>,
        /// How long it lasts (default: 30)
        #[arg(long, value_name = "N")]
        ttl_minutes: Option<i64>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        session: Session,
    },
    /// Give a lock back
    Unlock {
        /// Path or logical key
        file_path: String,
        #[command(flatten)]
        who: Who,
    },
    /// List locks
    Locks,
    /// Add a task
    Submit {
        /// Kind of work, such as implement
        task_type: String,
        /// What is to be done
        task_description: String,
        /// Anything for the worker
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        input_data: Option<Value>,
        /// 1 first, 10 last (default: 5)
        #[arg(long, value_name = "N")]
        priority: Option<i64>,
        /// Task to complete first; may be repeated
        #[arg(long, value_name = "ID")]
        depends_on: Vec<String>,
        /// The feature that it belongs to
        #[arg(long, value_name = "ID")]
        feature_id: Option<String>,
        /// Repeating the submission under it changes nothing
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Claim the next task that is ready
    Get {
        /// Only such; may be repeated
        #[arg(long = "task-type", value_name = "TYPE")]
        task_types: Vec<String>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        session: Session,
    },
    /// End a task that you claimed
    Complete {
        /// The task
        task_id: String,
        /// It did not succeed
        #[arg(long)]
        failed: bool,
        /// What came of it
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        result: Option<Value>,
        /// Why it failed
        #[arg(long, value_name = "TEXT")]
        error_message: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Show a task
    Task {
        /// The task
        task_id: String,
    },
    /// Leave what the next session must know
    HandoffWrite {
        /// Where the work stands
        summary: String,
        /// What is done; may be repeated
        #[arg(long, value_name = "TEXT")]
        completed_work: Vec<String>,
        /// What is begun; may be repeated
        #[arg(long, value_name = "TEXT")]
        in_progress: Vec<String>,
        /// What was decided, and why; may be repeated
        #[arg(long, value_name = "TEXT")]
        decisions: Vec<String>,
        /// What to do next; may be repeated
        #[arg(long, value_name = "TEXT")]
        next_steps: Vec<String>,
        /// Where to look; may be repeated
        #[arg(long, value_name = "TEXT")]
        relevant_files: Vec<String>,
        /// The feature that it is about
        #[arg(long, value_name = "ID")]
        feature_id: Option<String>,
        /// Any form
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        content: Option<Value>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        session: Session,
    },
    /// Show where you, or else others, left off
    HandoffRead {
        /// Whose
        #[arg(long, value_name = "ID")]
        agent_name: Option<String>,
        /// Of which session
        #[arg(long, value_name = "ID")]
        session_id: Option<String>,
        /// On which feature
        #[arg(long, value_name = "ID")]
        feature_id: Option<String>,
        /// How many (default: 1)
        #[arg(long, value_name = "N")]
        limit: Option<i64>,
        #[command(flatten)]
        who: Who,
    },
    /// Store what was learnt
    Remember {
        /// error, success, decision, discovery or optimization
        event_type: String,
        /// In a sentence
        summary: String,
        /// Trace, command, configuration
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        details: Option<Value>,
        /// positive, negative or neutral
        #[arg(long)]
        outcome: Option<String>,
        /// What to do next time; may be repeated
        #[arg(long, value_name = "TEXT")]
        lessons: Vec<String>,
        /// May be repeated
        #[arg(long, value_name = "TAG")]
        tags: Vec<String>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        session: Session,
    },
    /// Find what agents learnt before
    Recall {
        /// Your task, a question, a path or an error's text
        task_description: Option<String>,
        /// Any of; may be repeated
        #[arg(long, value_name = "TAG")]
        tags: Vec<String>,
        /// Only such
        #[arg(long, value_name = "TYPE")]
        event_type: Option<String>,
        /// How many (default: 10)
        #[arg(long, value_name = "N")]
        limit: Option<i64>,
        #[command(flatten)]
        who: Who,
    },
    /// Say what a command would destroy or give away
    Guardrails {
        /// The command, as one word
        operation_text: String,
        /// May be repeated
        #[arg(long, value_name = "PATH")]
        file_paths: Vec<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Say that you are here
    Register {
        /// May be repeated
        #[arg(long, value_name = "NAME")]
        capabilities: Vec<String>,
        /// What you are at
        #[arg(long, value_name = "TEXT")]
        current_task: Option<String>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        session: Session,
    },
    /// Keep your session and your tasks alive
    Heartbeat {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        session: Session,
    },
    /// List the agents that are here
    Discover,
    /// Ask whether you may do this
    Policy {
        /// The operation
        operation: String,
        /// On what
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,
        /// What else is known
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        context: Option<Value>,
        #[command(flatten)]
        who: Who,
    },
    /// Show what was done and what was refused
    Audit {
        /// How many (default: 20)
        #[arg(long, value_name = "N")]
        limit: Option<i64>,
    },
}

/// The agent.
#[derive(Debug, clap::Args)]
pub struct Who {
    /// Who acts, in place of AGENT_ID
    #[arg(long, value_name = "ID")]
    pub agent_id: Option<String>,
}

/// What it is.
#[derive(Debug, clap::Args)]
pub struct Kind {
    /// Its type, in place of AGENT_TYPE
    #[arg(long, value_name = "TYPE")]
    pub agent_type: Option<String>,
}

/// Where it is.
#[derive(Debug, clap::Args)]
pub struct Session {
    /// Its session, in place of SESSION_ID
    #[arg(long, value_name = "ID")]
    pub session_id: Option<String>,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}
