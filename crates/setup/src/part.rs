//! A part of a file that is ours: it can be put into a text and taken out again, and leaves the rest as it is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::vendor::Agent;
use crate::{block, git_hooks, json, toml};

/// A part of a file. A record keeps it, so that a later version knows what an earlier one put there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A member of an object in JSON.
    Member {
        /// The names that lead to it.
        path: Vec<String>,
        /// Its value, as JSON in the order in which it is to be read.
        value: String,
    },
    /// A text in an array in JSON.
    Item {
        /// The names that lead to the array.
        path: Vec<String>,
        /// The text.
        value: String,
    },
    /// Hooks of an agent, under `hooks` in JSON.
    Hooks {
        /// Whose.
        agent: Agent,
        /// Events, and a group of hooks for each as JSON.
        groups: Vec<(String, String)>,
    },
    /// A table in TOML.
    Table {
        /// The names that lead to it.
        path: Vec<String>,
        /// Its keys, and their values as TOML.
        values: Vec<(String, String)>,
    },
    /// Lines between our markers in a text for agents to read.
    Block {
        /// The lines.
        text: String,
    },
    /// The lines in a git hook that call us; where the hook was set aside, all of it.
    GitBlock,
    /// The line that earlier versions put into a git hook.
    GitHook {
        /// The line.
        line: String,
    },
    /// A file of ours, where there is none.
    Whole {
        /// What is in it.
        text: String,
    },
}

/// A part, and the file it belongs into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file, as people call it; it may be a link.
    pub path: PathBuf,
    /// The part.
    pub part: Part,
    /// What it is for, in a word or two.
    pub purpose: &'static str,
}

impl Part {
    /// The text with this part in it; equal to the text when it was there already.
    ///
    /// # Errors
    /// A sentence that says why the text cannot be edited.
    pub fn put(&self, body: &str) -> Result<String, String> {
        match self {
            Self::Member { path, value } => json::put_member(body, path, value),
            Self::Item { path, value } => json::put_item(body, path, value),
            Self::Hooks { agent, groups } => json::put_hooks(body, *agent, groups),
            Self::Table { path, values } => toml::put_table(body, path, values),
            Self::Block { text } => block::put(body, text),
            // Where they go is not seen by the text alone: `git_hooks::install` plans it.
            Self::GitBlock | Self::GitHook { .. } => Ok(body.to_owned()),
            Self::Whole { text } => Ok(if body.is_empty() { text.clone() } else { body.to_owned() }),
        }
    }

    /// The text without this part, and with what stood in its place in the text of before.
    ///
    /// # Errors
    /// A sentence that says why the text cannot be edited.
    pub fn take_out(&self, body: &str, before: Option<&str>) -> Result<String, String> {
        match self {
            Self::Member { path, .. } => json::take_member(body, path, before),
            Self::Item { path, value } => json::take_item(body, path, value, before),
            Self::Hooks { agent, .. } => json::take_hooks(body, *agent, before),
            Self::Table { path, values } => toml::take_table(body, path, values, before),
            Self::Block { .. } => block::take(body, before),
            Self::GitBlock | Self::GitHook { .. } => git_hooks::take(body, before),
            Self::Whole { text } if body == text => Ok(String::new()),
            Self::Whole { .. } => Err("somebody made it their own".into()),
        }
    }
}
