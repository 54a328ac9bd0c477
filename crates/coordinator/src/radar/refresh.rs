//! A look because something changed: by whoever notices it, one at a time, and by a server that watches.

use std::time::{Duration, Instant, SystemTime};

use git::{Error, Git};
use model::id::{AgentId, Project};

use super::records::Records;
use super::{Look, locked, look};
use crate::Coordinator;
use crate::failure::Failure;
use crate::repository::Repository;

/// Watching takes at most one part in so many of the time, however large the repository is.
const SHARE: u32 = 50;

impl Coordinator {
    /// The repository that this process works in, if the project is that repository.
    pub(super) fn own_repository(&self, project: &Project) -> Option<Repository> {
        self.settings().worktree.as_deref().filter(|_| project == self.default_project()).and_then(Repository::around)
    }

    /// Looks at all pairs, tells whoever was not told of what does not merge, and notes it down. The second is to whom each
    /// conflict was told now.
    pub(super) async fn look_at_branches(
        &self,
        project: &Project,
        repository: Repository,
    ) -> Result<Result<(Look, Vec<Vec<AgentId>>), Error>, Failure> {
        let (begun, records) = (SystemTime::now(), Records::of(&repository));
        let (known, common_dir) = (self.radar.known.clone(), repository.common_dir.clone());
        let target = self.settings().merge_target.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let git = Git::open(&repository.worktree)?.with_scratch_objects()?;
            let version = git.version();
            let version = format!("{}.{}", version.major, version.minor);
            records.recall(&version, &mut locked(&known).pairs);
            let look = look::look(&git, &known, &repository, target.as_deref())?;
            if look.checked > 0 {
                records.keep(&version, &locked(&known).pairs);
            }
            records.saw(&look.conflicts, begun);
            Ok(look)
        });
        let look = match looked.await.map_err(|error| Failure::Internal(error.to_string()))? {
            Ok(look) => look,
            Err(error) => return Ok(Err(error)),
        };
        let told = self.tell(project, &common_dir.join("coordinator"), &look.conflicts).await?;
        Ok(Ok((look, told)))
    }

    /// Looks because something changed, unless somebody looks just now: then they look once more.
    ///
    /// # Errors
    /// [`Failure`] when nobody can be told.
    pub async fn refresh_radar(&self) -> Result<(), Failure> {
        let Some(repository) = self.own_repository(self.default_project()) else { return Ok(()) };
        let records = Records::of(&repository);
        let failed = |error: std::io::Error| Failure::Unavailable(format!("the radar's records: {error}"));
        records.want().map_err(failed)?;
        loop {
            // Whoever has the turn looks afterwards whether somebody wanted it meanwhile.
            let Some(turn) = records.turn().map_err(failed)? else { return Ok(()) };
            let begun = SystemTime::now();
            if let Err(error) = self.look_at_branches(self.default_project(), repository.clone()).await? {
                // Nobody is to try again at every step.
                records.failed(begun);
                return Err(Failure::Unavailable(error.to_string()));
            }
            drop(turn);
            if !records.is_wanted_since(begun) {
                return Ok(());
            }
        }
    }

    /// Looks whenever refs or work trees of its repository have changed, as often as the settings say, for as long as the
    /// future is polled.
    pub async fn watch_branches(&self) {
        let repository = self.own_repository(self.default_project());
        let (Some(repository), Some(every)) = (repository, self.settings().radar_interval) else { return };
        let (mut seen, mut pause, mut told) = (None, every, String::new());
        loop {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let worktree = repository.worktree.clone();
            let signs = tokio::task::spawn_blocking(move || Git::open(&worktree)?.signs()).await;
            let trouble = match signs {
                Ok(Ok(signs)) if seen.as_ref() == Some(&signs) => None,
                Ok(Ok(signs)) => match self.refresh_radar().await {
                    Ok(()) => {
                        seen = Some(signs);
                        None
                    }
                    Err(failure) => Some(failure.message()),
                },
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let trouble = trouble.unwrap_or_default();
            if !trouble.is_empty() && trouble != told {
                tracing::warn!(error = trouble, "could not look which branches merge");
            }
            told = trouble;
            pause = every.max(begun.elapsed().saturating_mul(SHARE).min(Duration::from_secs(3600)));
        }
    }
}
