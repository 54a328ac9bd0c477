//! `coordinator audit verify` and its like: that nobody changed the record, and how to show it to others.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use coordinator::audit::export::Format;
use coordinator::audit::proof::Proof;
use coordinator::audit::signing_key::{SigningKey, VerifierKey};
use coordinator::settings::Settings;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::desk::{Desk, at_desk};
use crate::exit::{Exit, Trouble};
use crate::fields::{items, some, text};
use crate::output;
use crate::time;

/// Where git keeps the checkpoints that are put into it.
const NOTES: &str = "agent-coordinator";

/// What to do with the record as a whole.
#[derive(Debug, Subcommand)]
pub enum Proofs {
    /// Check that nobody changed the record, best against a checkpoint kept elsewhere
    Verify {
        /// A signed checkpoint; - is standard input
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Who signed it (default: this machine's key)
        #[arg(long, value_name = "PUBLIC KEY")]
        key: Option<VerifierKey>,
    },
    /// Sign how the record stands now, to be kept where whoever can change the database cannot
    Checkpoint {
        /// Write it to this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Attach it to the current commit, as a note in refs/notes/agent-coordinator
        #[arg(long)]
        git_note: bool,
    },
    /// Prove that a row is in the record
    Prove {
        /// Its id, as `audit --json` shows it
        id: String,
        /// A signed checkpoint to prove it against (default: one of now)
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Who signed it (default: this machine's key)
        #[arg(long, value_name = "PUBLIC KEY")]
        key: Option<VerifierKey>,
    },
    /// Check a proof; needs no database
    CheckProof {
        /// The proof, as `audit prove` prints it; - is standard input
        file: PathBuf,
        /// Who signed its checkpoint (default: this machine's key)
        #[arg(long, value_name = "PUBLIC KEY")]
        key: Option<VerifierKey>,
    },
    /// Print the record, oldest first, one JSON object a line
    Export {
        /// Entries with their hashes, or CloudEvents 1.0
        #[arg(long, value_enum, default_value_t = Form::Jsonl)]
        format: Form,
        /// Only rows behind this position
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
    },
    /// Remove the oldest rows, sealed, so that the rest can still be verified; servers do so by themselves
    Prune {
        /// Those from before: a time, or how long ago (default: AUDIT_RETENTION_DAYS)
        #[arg(long, value_name = "WHEN", value_parser = time::past)]
        before: Option<Timestamp>,
    },
    /// Print the public key of this machine's checkpoints
    Key,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Form {
    /// Entries with their hashes
    Jsonl,
    /// CloudEvents 1.0
    Cloudevents,
}

/// Does it.
pub fn run(globals: &Globals, proofs: Proofs) -> anyhow::Result<Exit> {
    match proofs {
        Proofs::Verify { checkpoint, key } => {
            let request =
                json!({"checkpoint": given(checkpoint.as_deref())?, "public_key": key.map(|k| k.to_string())});
            at_desk(globals, async |desk| verify(desk, request).await)
        }
        Proofs::Checkpoint { out, git_note } => {
            at_desk(globals, async |desk| checkpoint(desk, out.as_deref(), git_note).await)
        }
        Proofs::Prove { id, checkpoint, key } => {
            let checkpoint = given(checkpoint.as_deref())?;
            let request = json!({"id": id, "checkpoint": checkpoint, "public_key": key.map(|k| k.to_string())});
            at_desk(globals, async |desk| prove(desk, request).await)
        }
        Proofs::CheckProof { file, key } => check_proof(globals, &file, key),
        Proofs::Export { format, after } => at_desk(globals, async |desk| export(desk, format, after).await),
        Proofs::Prune { before } => at_desk(globals, async |desk| prune(desk, before).await),
        Proofs::Key => key(globals),
    }
}

fn given(file: Option<&Path>) -> Result<Option<String>, Trouble> {
    file.map(read).transpose()
}

fn read(file: &Path) -> Result<String, Trouble> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => fs::read_to_string(file).map(|read| text = read),
    };
    read.map_err(|error| Trouble::usage(format!("{} cannot be read: {error}", file.display())))?;
    Ok(text)
}

async fn verify(desk: &Desk, request: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask("verify_audit", request).await?;
    desk.answer(&answer, |answer| {
        let number = |field: &str| answer[field].as_u64().unwrap_or_default();
        if answer["success"] == true {
            let sealed = match number("sealed") {
                0 => String::new(),
                sealed => format!(", behind {sealed} that were pruned and are sealed"),
            };
            output::print(format_args!("All {} rows are as they were recorded{sealed}.", number("rows")))?;
            match answer["covered"].as_u64() {
                Some(covered) => output::tell(format_args!("The checkpoint vouches for the first {covered} rows.")),
                None => output::tell(
                    "Without a checkpoint nobody can tell whether the last rows were removed, or all was hashed anew: see \
                     coordinator audit checkpoint.",
                ),
            }
            return Ok(());
        }
        for finding in items(answer, "findings") {
            output::print(output::printable(text(finding, "message")))?;
        }
        Ok(())
    })
}

async fn checkpoint(desk: &Desk, out: Option<&Path>, git_note: bool) -> anyhow::Result<Exit> {
    let mut answer = desk.ask("checkpoint_audit", json!({})).await?;
    let Some(note) = some(&answer, "checkpoint").map(str::to_owned) else {
        return desk.answer(&answer, |answer| {
            match some(answer, "reason") {
                Some("no_signing_key") => output::print(output::printable(text(answer, "message")))?,
                Some("audit_trail_empty") => output::print("Nothing is recorded yet: there is nothing to sign.")?,
                _ => {
                    output::print("The record was changed, and is not signed:")?;
                    for finding in items(answer, "findings") {
                        output::print(output::printable(text(finding, "message")))?;
                    }
                }
            }
            Ok(())
        });
    };
    if let Some(out) = out {
        fs::write(out, &note)
            .map_err(|error| Trouble::usage(format!("{} cannot be written: {error}", out.display())))?;
        answer["file"] = json!(out);
    }
    if git_note {
        add_note(&note)?;
        answer["git_note"] = json!(format!("refs/notes/{NOTES}"));
    }
    desk.answer(&answer, |answer| {
        if out.is_none() {
            output::print(note.trim_end())?;
        }
        output::tell(format_args!(
            "It vouches for {} rows. Its public key is {}",
            answer["size"],
            text(answer, "public_key")
        ));
        if git_note {
            output::tell(format_args!("It is a note of the current commit: git notes --ref={NOTES} show"));
        }
        Ok(())
    })
}

fn add_note(note: &str) -> anyhow::Result<()> {
    let mut git = Command::new("git")
        .args(["notes", "--ref", NOTES, "add", "--force", "--file", "-", "HEAD"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("git cannot be started")?;
    if let Some(mut stdin) = git.stdin.take() {
        stdin.write_all(note.as_bytes())?;
    }
    let done = git.wait_with_output()?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr);
        return Err(Trouble::new(Exit::Refused, "no_git_note", format!("git took no note: {}", why.trim())).into());
    }
    Ok(())
}

async fn prove(desk: &Desk, request: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask("prove_audit", request).await?;
    if answer["success"] == true {
        // The proof itself, whether as JSON or not: it is what `check-proof` reads.
        output::json(&answer["proof"])?;
        return Ok(Exit::Done);
    }
    desk.answer(&answer, |answer| {
        let why = match text(answer, "reason") {
            "audit_entry_not_found" => "There is no such row, or not among those that the checkpoint covers.",
            "checkpoint_mismatch" => "The record is not the one that the checkpoint was signed for.",
            _ => "The record was changed: see coordinator audit verify.",
        };
        Ok(output::print(why)?)
    })
}

fn check_proof(globals: &Globals, file: &Path, key: Option<VerifierKey>) -> anyhow::Result<Exit> {
    let text = read(file)?;
    let proof: Proof =
        serde_json::from_str(&text).map_err(|error| Trouble::usage(format!("this is no proof: {error}")))?;
    let key = match key {
        Some(key) => key,
        None => own_key(&globals.settings()?)?.ok_or_else(|| {
            Trouble::usage("this machine has signed nothing: name the signer's public key with --key")
        })?,
    };
    let (checkpoint, row) = proof.check(&key).map_err(|why| Trouble::new(Exit::Refused, "false_proof", why))?;
    let of_row = |name: &str| row.text(name).unwrap_or_default().to_owned();
    let answer = json!({
        "success": true, "seq": proof.seq, "size": checkpoint.size, "id": of_row("id"), "agent_id": of_row("agent_id"),
        "operation": of_row("operation"), "parameters": serde_json::from_str::<Value>(&of_row("parameters")).ok(),
    });
    if globals.json {
        output::json(&answer)?;
    } else {
        output::print(format_args!(
            "True: row {} of {} is {} by {}.",
            proof.seq,
            checkpoint.size,
            output::printable(&of_row("operation")),
            output::printable(&of_row("agent_id"))
        ))?;
    }
    Ok(Exit::Done)
}

async fn export(desk: &Desk, format: Form, after: u64) -> anyhow::Result<Exit> {
    let format = match format {
        Form::Jsonl => Format::Jsonl,
        Form::Cloudevents => Format::Cloudevents,
    };
    let mut after = i64::try_from(after).unwrap_or(i64::MAX);
    loop {
        let page =
            coordinator::audit::export::export_page(desk.coordinator.store(), desk.project(), format, after, 500);
        let (entries, next) = page.await.map_err(Trouble::from)?;
        for entry in entries {
            output::print(&entry)?;
        }
        match next {
            Some(next) => after = next,
            None => return Ok(Exit::Done),
        }
    }
}

async fn prune(desk: &Desk, before: Option<Timestamp>) -> anyhow::Result<Exit> {
    let days = desk.coordinator.settings().audit_retention_days;
    let before = match before {
        Some(before) => before,
        None if days == 0 => {
            return Err(Trouble::usage("rows are kept for ever (AUDIT_RETENTION_DAYS is 0): see --before").into());
        }
        None => {
            Timestamp::now().checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).context("too long ago")?
        }
    };
    let rows = desk.coordinator.prune_audit(desk.project(), &desk.caller, before).await.map_err(Trouble::from)?;
    desk.answer(&json!({"success": true, "rows": rows, "before": before}), |_| {
        Ok(output::print(format_args!("{rows} rows from before {before} were sealed and removed."))?)
    })
}

fn key(globals: &Globals) -> anyhow::Result<Exit> {
    let settings = globals.settings()?;
    let path = settings.audit_signing_key.as_deref();
    let path = path.ok_or_else(|| Trouble::usage("there is no place for a key: set AUDIT_SIGNING_KEY"))?;
    let key = SigningKey::read_or_make(path)
        .map_err(|error| Trouble::new(Exit::Refused, "no_signing_key", error.to_string()))?
        .public();
    if globals.json {
        output::json(&json!({"public_key": key.to_string(), "file": path}))?;
    } else {
        output::print(key)?;
        output::tell(format_args!("The private key is in {}, and signs for every project.", path.display()));
    }
    Ok(Exit::Done)
}

fn own_key(settings: &Settings) -> Result<Option<VerifierKey>, Trouble> {
    let Some(path) = settings.audit_signing_key.as_deref() else { return Ok(None) };
    let key =
        SigningKey::read(path).map_err(|error| Trouble::new(Exit::Refused, "no_signing_key", error.to_string()))?;
    Ok(key.map(|key| key.public()))
}
