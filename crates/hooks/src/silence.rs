//! A coordinator that was reached and stayed silent, remembered for a short while by all hooks of a repository.
//!
//! Each of them would wait for it as long as a hook may, at every step of every agent. So whoever waited in vain leaves a
//! note beside the sessions, and the others let go at once until it has grown old. A database on this machine is not
//! given up so: one that is slow is busy.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use coordinator::repository::Repository;
use coordinator::settings::Settings;

/// So long it is left alone.
const FOR: Duration = Duration::from_secs(30);
/// The note's name.
const NOTE: &str = "silent";

/// The note of a repository about the coordinator that the settings name.
pub struct Silence {
    path: PathBuf,
    about: String,
}

impl Silence {
    /// About this one.
    pub fn of(repository: &Repository, settings: &Settings) -> Self {
        let path = repository.common_dir.join("coordinator").join(NOTE);
        let about = settings.api_url.clone().unwrap_or_else(|| settings.database.describe());
        Self { path, about }
    }

    /// How long ago somebody waited for it in vain, if it is to be left alone for that.
    pub fn since(&self) -> Option<Duration> {
        let changed = fs::metadata(&self.path).and_then(|note| note.modified()).ok()?;
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        let holds = age < FOR && fs::read_to_string(&self.path).is_ok_and(|about| about == self.about);
        holds.then_some(age)
    }

    /// It was waited for in vain. Where that cannot be noted down, the next one waits too.
    pub fn note(&self) {
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        let _ = made.and_then(|()| fs::write(&self.path, &self.about));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_silence_is_remembered_for_a_while_and_of_one_coordinator() {
        let temp = tempfile::tempdir().unwrap();
        let silence =
            |about: &str| Silence { path: temp.path().join("coordinator").join(NOTE), about: about.to_owned() };
        assert_eq!(silence("a").since(), None);
        silence("a").note();
        assert!(silence("a").since().is_some());
        assert_eq!(silence("b").since(), None, "another one may answer");
        let age = |path: &Path, age: Duration| {
            fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        };
        age(&silence("a").path, FOR);
        assert_eq!(silence("a").since(), None, "it is asked again");
    }
}
