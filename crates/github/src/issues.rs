//! Issues, their comments and labels. A pull request is an issue, too, as far as these go.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::client::{Client, ETag, NextPage, Page, Question, Since, encoded};
use crate::error::Result;

/// The most items that GitHub puts on a page.
pub(crate) const PAGE_SIZE: u32 = 100;

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Label {
    /// What it says.
    pub name: String,
}

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Its name.
    pub login: String,
}

/// Is it open?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenState {
    /// It is.
    Open,
    /// It is not.
    Closed,
}

/// An issue: as it stands, whichever way it was read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// What it says.
    #[serde(default)]
    pub body: Option<String>,
    /// Is it open?
    pub state: OpenState,
    /// Why it was closed: `completed`, `not_planned`, `duplicate`.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// All its labels.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Who is to do it.
    #[serde(default)]
    pub assignees: Vec<User>,
    /// Where it is to be seen.
    #[serde(default)]
    pub html_url: String,
    /// When it was last changed, to the second.
    pub updated_at: Timestamp,
    /// There, if it is a pull request.
    #[serde(default)]
    pub pull_request: Option<serde_json::Value>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// What it says.
    #[serde(default)]
    pub body: Option<String>,
}

/// Which issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are open now.
    Open,
    /// Open or not.
    All,
}

impl Client {
    /// A page of issues and pull requests that were changed at this second or later, the longest unchanged first; if the
    /// page has changed.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn issues(
        &self,
        which: Which,
        since: Option<Timestamp>,
        etag: Option<&ETag>,
    ) -> Result<Since<Page<Issue>>> {
        let state = match which {
            Which::Open => "open",
            Which::All => "all",
        };
        let since = since.map(|instant| format!("&since={instant:.0}")).unwrap_or_default();
        let path = self.path(&format!("/issues?state={state}{since}&sort=updated&direction=asc&per_page={PAGE_SIZE}"));
        self.page(Question { etag, ..Question::get("list issues", path) }).await
    }

    /// The page of issues behind another.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn more_issues(&self, next: NextPage) -> Result<Page<Issue>> {
        self.next("list issues", next).await
    }

    /// One issue.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn issue(&self, number: u64) -> Result<Issue> {
        self.one(Question::get("read an issue", self.path(&format!("/issues/{number}")))).await
    }

    /// All comments on an issue or a pull request.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn comments(&self, number: u64) -> Result<Vec<Comment>> {
        let path = self.path(&format!("/issues/{number}/comments?per_page={PAGE_SIZE}"));
        self.all("list comments", path).await
    }

    /// Writes a comment.
    ///
    /// # Errors
    /// [`Error`](crate::Error): it may be there all the same where nobody answered.
    pub async fn create_comment(&self, number: u64, body: &str) -> Result<Comment> {
        let path = self.path(&format!("/issues/{number}/comments"));
        let body = json!({"body": body});
        self.one(Question {
            method: Method::POST,
            body: Some(&body),
            ..Question::get("write a comment (issues: write)", path)
        })
        .await
    }

    /// Puts other words into a comment.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn edit_comment(&self, id: u64, body: &str) -> Result<()> {
        let path = self.path(&format!("/issues/comments/{id}"));
        let body = json!({"body": body});
        self.done(Question {
            method: Method::PATCH,
            body: Some(&body),
            ..Question::get("edit a comment (issues: write)", path)
        })
        .await
    }

    /// Puts a label onto an issue or a pull request. One that is there stays.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn add_label(&self, number: u64, label: &str) -> Result<()> {
        let path = self.path(&format!("/issues/{number}/labels"));
        let body = json!({"labels": [label]});
        self.done(Question {
            method: Method::POST,
            body: Some(&body),
            ..Question::get("add a label (issues: write)", path)
        })
        .await
    }

    /// Takes a label off an issue or a pull request. One that is not there is gone already.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn remove_label(&self, number: u64, label: &str) -> Result<()> {
        let path = self.path(&format!("/issues/{number}/labels/{}", encoded(label)));
        let question = Question { method: Method::DELETE, ..Question::get("remove a label (issues: write)", path) };
        match self.done(question).await {
            Err(error) if error.is_missing() => Ok(()),
            done => done,
        }
    }
}
