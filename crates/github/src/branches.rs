//! Branches, and what they change.

use serde::Deserialize;

use crate::client::{Client, ETag, Page, Question, Since, encoded_ref};
use crate::error::Result;
use crate::issues::PAGE_SIZE;
use crate::pulls::ChangedFile;

/// What all branches' refs begin with.
const HEADS: &str = "refs/heads/";

/// What a ref points at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Target {
    sha: String,
}

/// A ref.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Ref {
    #[serde(rename = "ref")]
    name: String,
    object: Target,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// The commit it is at.
    pub sha: String,
}

/// What a branch has that another has not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Comparison {
    /// How many commits.
    pub ahead_by: u64,
    /// Which files they change: the first 300, as GitHub lists no more.
    #[serde(default)]
    pub files: Vec<ChangedFile>,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: String,
}

impl Client {
    /// The branch that others are merged into.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn default_branch(&self) -> Result<String> {
        let repository: Repository = self.one(Question::get("read the repository", self.path(""))).await?;
        Ok(repository.default_branch)
    }

    /// The branches whose names begin so, if they have changed.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn branches(&self, prefix: &str, etag: Option<&ETag>) -> Result<Since<Page<Branch>>> {
        let path = self.path(&format!("/git/matching-refs/heads/{}?per_page={PAGE_SIZE}", encoded_ref(prefix)));
        Ok(match self.list::<Ref>(Question { etag, ..Question::get("list branches", path) }).await? {
            Since::Unchanged => Since::Unchanged,
            Since::Changed { value, etag } => {
                let branch =
                    |of: Ref| Some(Branch { name: of.name.strip_prefix(HEADS)?.to_owned(), sha: of.object.sha });
                let items = value.items.into_iter().filter_map(branch).collect();
                Since::Changed { value: Page { items, next: None, read_at: value.read_at }, etag }
            }
        })
    }

    /// What `head` has that `base` has not: branches or commits.
    ///
    /// # Errors
    /// [`Error`](crate::Error)
    pub async fn compare(&self, base: &str, head: &str) -> Result<Comparison> {
        let ends = format!("{}...{}", encoded_ref(base), encoded_ref(head));
        // The files are on the first page, whatever its size.
        let path = self.path(&format!("/compare/{ends}?per_page=1"));
        self.one(Question::get("compare branches (contents: read)", path)).await
    }
}
