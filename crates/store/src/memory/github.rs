//! What is known of GitHub, in the reference.

use jiff::Timestamp;
use model::github::{GithubKind, GithubRecord};

use super::{ReferenceRows, Result, State};
use crate::engine::GithubRows;

impl State {
    /// By name.
    pub fn github_records_of(&self, kind: GithubKind, name: Option<&str>, now: Timestamp) -> Vec<GithubRecord> {
        let wanted = |r: &&GithubRecord| {
            r.kind == kind && name.is_none_or(|name| r.name == name) && r.expires_at.is_none_or(|end| end > now)
        };
        self.github_records.values().filter(wanted).cloned().collect()
    }
}

impl GithubRows for ReferenceRows<'_> {
    fn github_record(&mut self, kind: GithubKind, name: &str) -> Result<Option<GithubRecord>> {
        Ok(self.github_records.get(&(kind, name.to_owned())).cloned())
    }

    fn put_github_record(&mut self, record: &GithubRecord) -> Result<()> {
        self.github_records.insert((record.kind, record.name.clone()), record.clone());
        Ok(())
    }

    fn drop_github_records_ended(&mut self, now: Timestamp) -> Result<()> {
        self.github_records.retain(|_, record| record.expires_at.is_none_or(|end| end > now));
        Ok(())
    }
}
