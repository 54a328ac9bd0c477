//! Pull requests, and what they change.

use jiff::Timestamp;
use serde::Deserialize;

use crate::client::{Client, Question};
use crate::error::Result;
use crate::issues::{Label, OpenState, PAGE_SIZE, User};

/// One end of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct End {
    /// The branch.
    #[serde(rename = "ref")]
    pub branch: String,
    /// Its commit.
    pub sha: String,
    /// Where the branch is; gone, when its repository is.
    #[serde(default)]
    pub repo: Option<EndRepository>,
}

/// The repository of a pull request's end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndRepository {
    /// `owner/name`.
    pub full_name: String,
}

/// A pull request: as it stands, whichever way it was read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// Is it open?
    pub state: OpenState,
    /// When it was merged, if it was.
    #[serde(default)]
    pub merged_at: Option<Timestamp>,
    /// The commit by which it was merged.
    #[serde(default)]
    pub merge_commit_sha: Option<String>,
    /// All its labels.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Who opened it.
    #[serde(default)]
    pub user: Option<User>,
    /// What is to be merged.
    pub head: End,
    /// Into what.
    pub base: End,
    /// Where it is to be seen.
    #[serde(default)]
    pub html_url: String,
    /// When it was last changed, to the second.
    pub updated_at: Timestamp,
}

/// A file that a pull request or a branch changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChangedFile {
    /// Where it is.
    pub filename: String,
    /// Where it was, if it was renamed.
    #[serde(default)]
    pub previous_filename: Option<String>,
}

impl ChangedFile {
    /// The paths that are touched: of these files, each once.
    pub fn paths(files: &[Self]) -> std::collections::BTreeSet<String> {
        files
            .iter()
            .flat_map(|file| [Some(&file.filename), file.previous_filename.as_ref()])
            .flatten()
            .cloned()
            .collect()
    }
}

impl Client {
    /// One pull request.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn pull(&self, number: u64) -> Result<Pull> {
        self.one(Question::get("read a pull request", self.path(&format!("/pulls/{number}")))).await
    }

    /// The files that it changes: the first 3,000, as GitHub lists no more.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn pull_files(&self, number: u64) -> Result<Vec<ChangedFile>> {
        let path = self.path(&format!("/pulls/{number}/files?per_page={PAGE_SIZE}"));
        self.all("list a pull request's files", path).await
    }
}
