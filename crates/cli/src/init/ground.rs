//! Where a set-up happens: the repository or the home directory, the agents on this machine, and the program to start.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use coordinator::VERSION;
use coordinator::repository::Repository;
use setup::place::shell_word;
use setup::vendor::Agent;
use setup::{Disk, Homes, Part, Piece, Place, Plan, Problem, Record, Scope, git_hooks};

use crate::exit::Trouble;

/// For whom agents are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeName {
    /// Everybody who works in this work tree
    Project,
    /// You, in every project
    User,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Project => Self::Project,
            ScopeName::User => Self::User,
        }
    }
}

/// Where a set-up happens.
pub struct Ground {
    /// What goes where.
    pub place: Place,
    /// The directory of the records.
    pub records: PathBuf,
    repository: Option<Repository>,
}

/// Changes that are recorded, and undone, together.
pub struct Set {
    /// The file with their record.
    pub record_file: PathBuf,
    /// What they are for: a work tree, a home directory, or what all work trees of a repository share.
    pub root: PathBuf,
    /// The changes.
    pub plan: Plan,
}

/// The record of what all work trees of a repository share.
const SHARED: &str = "git-hooks.json";

impl Ground {
    /// Looks around.
    pub fn find(scope: Scope) -> Result<Self, Trouble> {
        let directory = std::env::current_dir()
            .map_err(|error| Trouble::usage(format!("the current directory cannot be used: {error}")))?;
        let home = directory_named("HOME")
            .ok_or_else(|| Trouble::usage("HOME is not set, so nobody knows where agents keep their settings"))?;
        let homes = Homes {
            home: home.clone(),
            claude: directory_named("CLAUDE_CONFIG_DIR"),
            codex: directory_named("CODEX_HOME"),
        };
        let repository = Repository::around(&directory);
        let (root, records) = match (scope, &repository) {
            (Scope::Project, Some(repository)) => {
                (repository.worktree.clone(), repository.common_dir.join("coordinator").join("setup"))
            }
            (Scope::Project, None) => {
                return Err(Trouble::usage(
                    "this directory is in no git repository; run `git init`, or set up for yourself everywhere: --scope user",
                ));
            }
            (Scope::User, _) => {
                let data = directory_named("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
                (home, data.join("agent-coordinator").join("setup"))
            }
        };
        let place = Place { scope, root, homes, program: program() };
        Ok(Self { place, records, repository })
    }

    /// The record of what was done for this place.
    pub fn record_file(&self) -> PathBuf {
        match self.place.scope {
            Scope::Project => self.records.join(Record::name_for(&self.place.root)),
            Scope::User => self.records.join("user.json"),
        }
    }

    /// The record of what all work trees of the repository share.
    pub fn shared_record_file(&self) -> PathBuf {
        self.records.join(SHARED)
    }

    /// Every agent that is installed, or was used, or was set up here before.
    pub fn agents(&self, record: &Record) -> BTreeSet<Agent> {
        let was_set_up = |agent: Agent| {
            let parts = record.files.iter().flat_map(|entry| &entry.parts);
            parts.into_iter().any(|part| matches!(part, Part::Hooks { agent: of, .. } if *of == agent))
        };
        let home = &self.place.homes.home;
        let is_here = |agent: Agent| {
            on_path(agent.program()).is_some() || home.join(format!(".{}", agent.name())).is_dir() || was_set_up(agent)
        };
        Agent::ALL.into_iter().filter(|agent| is_here(*agent)).collect()
    }

    /// Everything that these agents and this place need.
    pub fn plan(&self, agents: &BTreeSet<Agent>) -> Vec<Set> {
        let mut pieces: Vec<Piece> = agents.iter().flat_map(|agent| agent.pieces(&self.place)).collect();
        let mut shared = None;
        let mut own = None;
        let mut beyond = None;
        if let Some(repository) = self.repository.as_ref().filter(|_| self.place.scope == Scope::Project) {
            pieces.push(setup::settings_file::piece(&self.place));
            let usual = || repository.common_dir.join("hooks");
            let directory = hooks_directory(&repository.worktree).unwrap_or_else(usual);
            let hooks = git_hooks::install(&Disk, &directory, &shell_word(&self.place.program), git_hooks::LOCAL);
            let real = directory.canonicalize().unwrap_or(directory);
            if real.starts_with(&repository.common_dir) {
                let place = Place { root: repository.common_dir.clone(), ..self.place.clone() };
                let mut plan = Plan::default();
                plan.adopt_all(&Disk, &place, hooks);
                shared = Some(Set { record_file: self.shared_record_file(), root: place.root, plan });
            } else if real.starts_with(&repository.worktree) {
                own = Some(hooks);
            } else {
                beyond = Some(elsewhere(&real, &self.place));
            }
        }
        let mut plan = setup::plan::plan(&Disk, &self.place, &pieces);
        if let Some(hooks) = own {
            plan.adopt_all(&Disk, &self.place, hooks);
        }
        plan.problems.extend(beyond);
        let mut sets = vec![Set { record_file: self.record_file(), root: self.place.root.clone(), plan }];
        sets.extend(shared);
        sets
    }

    /// A path as people write it here.
    pub fn short(&self, path: &Path) -> String {
        if let Ok(inside) = path.strip_prefix(&self.place.root) {
            let home = if self.place.scope == Scope::User { "~/" } else { "" };
            return format!("{home}{}", inside.display());
        }
        match path.strip_prefix(&self.place.homes.home) {
            Ok(inside) => format!("~/{}", inside.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// The other work trees of the repository that are set up.
    pub fn other_work_trees(&self) -> Vec<PathBuf> {
        let own = self.record_file();
        let files = std::fs::read_dir(&self.records).into_iter().flatten().flatten().map(|file| file.path());
        let others = files.filter(|file| *file != own && *file != self.shared_record_file());
        let others = others.filter(|file| file.extension().is_some_and(|end| end == "json"));
        let roots = others.filter_map(|file| Record::load(&file).ok().flatten()).map(|record| record.root);
        roots.filter(|root| root.is_dir()).collect()
    }
}

/// Hooks that other repositories run too are not ours to change.
fn elsewhere(directory: &Path, place: &Place) -> Problem {
    let line = place.command_line("git-guard pre-commit \"$@\" || exit $?");
    let message = format!(
        "core.hooksPath makes git look for hooks outside this repository, where others may use them too. To guard commits, \
         put this line into pre-commit there: {line}"
    );
    Problem { path: directory.to_owned(), message }
}

/// Where git looks for hooks, `core.hooksPath` heeded; nothing where git knows of no repository.
pub fn hooks_directory(worktree: &Path) -> Option<PathBuf> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--git-path", "hooks"]).current_dir(worktree).stderr(Stdio::null());
    let said = git.output().ok().filter(|output| output.status.success())?;
    Some(worktree.join(String::from_utf8_lossy(&said.stdout).trim_end_matches('\n')))
}

fn directory_named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// How agents start us: by name, where that finds this version, or by our path.
fn program() -> String {
    const NAME: &str = "coordinator";
    let here = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_else(|_| NAME.into());
    let is_us = |path: &PathBuf| {
        path.canonicalize().is_ok_and(|path| path == here)
            || Command::new(path)
                .arg("--version")
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("{NAME} {VERSION}"))
    };
    match on_path(NAME).filter(is_us) {
        Some(_) => NAME.to_owned(),
        None => here.to_string_lossy().into_owned(),
    }
}

/// The program of this name that a shell would run.
fn on_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}
