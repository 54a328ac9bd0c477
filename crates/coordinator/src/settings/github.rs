//! How GitHub is reached, and what it may tell us.

use github::client::API_URL;
use github::{Connection, RepositoryName, Secret};

use super::Source;

/// The shortest secret of a webhook: a shorter one can be guessed.
const SECRET_LENGTH: usize = 16;
/// The label that puts a pull request into the merge queue, unless another is set.
const MERGE_LABEL: &str = "merge-queue";

/// GitHub, as far as it is set up.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// `GITHUB_REPO`: whose issues, branches and pull requests count.
    pub repository: Option<RepositoryName>,
    /// `GITHUB_API_URL`: where the API is.
    pub api_url: String,
    /// `GITHUB_TOKEN`: what opens it.
    pub token: Option<Secret>,
    /// `GITHUB_WEBHOOK_SECRET`: what deliveries are signed with.
    pub webhook_secret: Option<Secret>,
    /// `GITHUB_MERGE_LABEL`: the label that puts a pull request into the merge queue.
    pub merge_label: String,
}

impl GithubSettings {
    /// How to reach the API.
    ///
    /// # Errors
    /// A sentence that says what is not set.
    pub fn connection(&self) -> Result<Connection, &'static str> {
        let repository = self.repository.clone().ok_or("GITHUB_REPO is not set: name the repository as owner/name")?;
        let token = self.token.clone().ok_or(
            "GITHUB_TOKEN is not set: make a fine-grained token for the repository; docs/github.md lists the permissions",
        )?;
        Ok(Connection { api_url: self.api_url.clone(), repository, token })
    }
}

impl Source<'_> {
    pub(super) fn github(&mut self) -> GithubSettings {
        GithubSettings {
            repository: self.parsed("GITHUB_REPO", RepositoryName::parse),
            api_url: self.text("GITHUB_API_URL").unwrap_or_else(|| API_URL.into()),
            token: self.secret("GITHUB_TOKEN", 1),
            webhook_secret: self.secret("GITHUB_WEBHOOK_SECRET", SECRET_LENGTH),
            merge_label: self.text("GITHUB_MERGE_LABEL").unwrap_or_else(|| MERGE_LABEL.into()),
        }
    }

    /// From the environment only: what is in the file is in the repository. Its value is not repeated in an error.
    fn secret(&mut self, name: &str, length: usize) -> Option<Secret> {
        if self.file.contains_key(name) {
            self.bad.push(format!(
                "coordinator.toml has {}: a secret does not belong into a repository; set {name} in the environment",
                name.to_lowercase()
            ));
        }
        let text = (self.env)(name).filter(|text| !text.is_empty())?;
        if text.len() < length {
            self.bad.push(format!("{name} is too short: must have {length} characters at least"));
        }
        Some(Secret::new(text))
    }
}
