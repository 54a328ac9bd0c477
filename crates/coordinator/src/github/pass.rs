//! A look at all that is known of GitHub: what is not done yet is done, locks are renewed, and refusals are said there.

use std::time::Duration;

use github::{Client, Patience};

use super::records::{Name, Records, SESSION, SubjectView};
use super::settle::Desk;
use super::{telling, workflows};
use crate::Coordinator;
use crate::failure::Failure;

/// How often a server looks.
const EVERY: Duration = Duration::from_secs(60);

impl Coordinator {
    /// Settles and renews all there is. With a client it also does what needs a question to GitHub, and says there what we
    /// refuse.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer. What GitHub does not answer is left for the next time, and logged.
    pub async fn pass_over_github(&self, client: Option<&Client>) -> Result<(), Failure> {
        let records = Records { coordinator: self, project: self.default_project() };
        let mut desk = Desk::open(records, client).await?;
        let subjects = records.subjects().await?;
        let is_due = |name: &Name| {
            let subject = &subjects[name].value;
            !subject.settled || subject.known.is_live() || !subject.refused.is_empty()
        };
        // A lock whose branch or issue is at rest is one that was taken while that came to rest.
        let held: Vec<String> =
            desk.locks.iter().filter_map(|lock| lock.session_id.as_ref()).map(ToString::to_string).collect();
        let holds = |name: &Name| {
            let session = name.session();
            held.iter().any(|held| held.starts_with(SESSION) && *held == session)
        };
        for name in subjects.keys().filter(|name| is_due(name) || holds(name)) {
            desk.settle(name).await?;
        }
        if let Some(client) = client {
            telling::tell(records, client).await?;
            if let Err(interrupted) = self.read_github_workflows(client).await {
                workflows::left_for_later(interrupted)?;
            }
        }
        Ok(())
    }

    /// Passes over it every minute, and when something is heard, for as long as the future is polled. It ends at once where
    /// GitHub is not set up.
    pub async fn follow_github(&self) {
        let settings = &self.settings().github;
        if settings.repository.is_none() || (settings.webhook_secret.is_none() && settings.token.is_none()) {
            return;
        }
        let client = settings.connection().ok().and_then(|connection| {
            let client = Client::new(&connection, Patience::default());
            client.inspect_err(|error| tracing::error!(%error, "GitHub cannot be reached so")).ok()
        });
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.github_news.notified() => {}
            }
            if let Err(failure) = self.pass_over_github(client.as_ref()).await {
                tracing::warn!(error = failure.message(), "could not follow GitHub");
            }
        }
    }

    /// All that is known of the repository on GitHub.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer.
    pub async fn github_subjects(&self) -> Result<Vec<SubjectView>, Failure> {
        let records = Records { coordinator: self, project: self.default_project() };
        let subjects = records.subjects().await?.into_iter();
        let view = |(name, stored): (Name, super::records::Stored<super::Subject>)| SubjectView {
            kind: name.kind.as_str(),
            name: name.name,
            subject: stored.value,
        };
        Ok(subjects.map(view).collect())
    }
}
