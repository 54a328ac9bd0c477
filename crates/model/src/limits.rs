//! How much an agent may do: what a command brings along for the store to count by.

use serde::{Deserialize, Serialize};

/// The limits of one agent; none where there is no number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Distinct files that it may lock in one session; without a session, in 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_modifications: Option<u32>,
    /// Calls that leave a row in the trail, in any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_hour: Option<u32>,
    /// Minutes for which it may keep the claim of a task, heartbeats or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minutes_per_task: Option<u32>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self { max_file_modifications: None, max_calls_per_hour: None, max_minutes_per_task: None };

    /// Is there nothing to count?
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// See [`Limits::max_file_modifications`].
    MaxFileModifications,
    /// See [`Limits::max_calls_per_hour`].
    MaxCallsPerHour,
}

impl Limit {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxFileModifications => "max_file_modifications",
            Self::MaxCallsPerHour => "max_calls_per_hour",
        }
    }
}
