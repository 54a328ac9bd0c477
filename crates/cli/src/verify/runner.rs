//! A runner: plans changesets in the repository here, takes their runs by a lease, runs them and reports. It may be killed at
//! any moment: what it had is another's when the lease ends.

use std::ffi::OsString;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use coordinator::verification::planning::{self, Against, Found};
use git::{Git, ObjectId};
use model::verification::PlannedRun;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use verification::inline::Stop;
use verification::{Checker, Executor, Inline, Key, Policies, Policy, Question, Workflow};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{instant, items, some, text};
use crate::merge::KEEPER;
use crate::verify::actions::Actions;

/// How long a runner has a run without a sign of life, unless it is told otherwise.
pub const LEASE_SECONDS: u32 = 60;
/// How long a changeset may wait for a runner that has its commit.
const PATIENCE: Duration = Duration::from_secs(300);

/// A runner in a repository.
#[derive(Clone)]
pub struct Runner {
    desk: Desk,
    handle: Handle,
    /// The repository.
    pub git: Git,
    checker: Checker,
    /// What starts workflows on GitHub; or why that cannot be.
    actions: Result<Actions, String>,
    lease_seconds: u32,
}

/// What became of a run, for people.
pub struct Ran {
    /// The policy.
    pub policy: String,
    /// What was verified.
    pub revision: String,
    /// Where the run stands.
    pub state: String,
}

impl Runner {
    /// In this work tree.
    pub fn open(desk: Desk, handle: Handle, worktree: &Path, lease_seconds: u32) -> Result<Self, Trouble> {
        let git = Git::open(worktree).map_err(git_failed)?;
        let keeper = std::env::current_exe()
            .map_err(|error| Trouble::new(Exit::Refused, "no_keeper", format!("this program is not found: {error}")))?;
        let inline = Inline::new(vec![keeper.into(), OsString::from(KEEPER)]);
        let checker = Checker { inline, variables: std::env::vars().collect() };
        let actions = Actions::open(&desk, &handle, &git);
        Ok(Self { desk, handle, git, checker, actions, lease_seconds })
    }

    /// Calls an operation.
    pub fn ask(&self, operation: &str, request: Value) -> Result<Value, Trouble> {
        self.handle.block_on(self.desk.ask(operation, request))
    }

    /// What must pass, as it is now.
    pub fn policies(&self) -> Result<Policies, Trouble> {
        let coordinator = &self.desk.coordinator;
        Ok(self.handle.block_on(coordinator.verification_policies(coordinator.default_project()))?)
    }

    /// The changeset.
    pub fn changeset(&self, id: &str, wait_seconds: u32) -> Result<Value, Trouble> {
        let request = json!({"changeset_id": id, "wait_seconds": wait_seconds});
        Ok(self.ask("get_changeset", request)?["changeset"].clone())
    }

    /// Plans the changesets that nobody has planned yet, as far as their commits are here.
    pub fn plan_queued(&self) -> Result<(), Trouble> {
        let queued = self.ask("list_changesets", json!({"state": "queued", "limit": 200}))?;
        for changeset in items(&queued, "changesets").iter().rev() {
            let (id, revision) = (text(changeset, "changeset_id"), text(changeset, "revision"));
            match self.find(revision)? {
                Some(found) => self.plan(id, &found, names(changeset).as_deref())?,
                None if is_old(changeset) => {
                    let trouble =
                        format!("no runner has {revision}: push it, or run coordinator verify --watch where it is");
                    self.ask("plan_verification", json!({"changeset_id": id, "trouble": trouble}))?;
                }
                // Another runner may have it.
                None => {}
            }
        }
        Ok(())
    }

    /// What a revision is here, and what it changes on its way to the target.
    pub fn find_here(&self, revision: &str) -> Result<Option<Found>, Trouble> {
        let target = self.desk.coordinator.settings().merge_target.as_deref();
        planning::find(&self.git, revision, Against::Target(target)).map_err(git_failed)
    }

    /// What a revision is here; what only the remote has is fetched.
    pub fn find(&self, revision: &str) -> Result<Option<Found>, Trouble> {
        let found = self.find_here(revision)?;
        if found.is_some() {
            return Ok(found);
        }
        let fetched = match ObjectId::new(revision) {
            Ok(commit) => self.git.fetch_commit("origin", &commit),
            Err(_) => {
                let (theirs, ours) = (format!("refs/heads/{revision}"), format!("refs/remotes/origin/{revision}"));
                self.git.fetch("origin", &theirs, &ours).map(drop)
            }
        };
        match fetched {
            Ok(()) => self.find_here(revision),
            // There is no such remote, or no such branch, or it is no name of one.
            Err(_) => Ok(None),
        }
    }

    /// Plans a changeset with the policies that stand here.
    pub fn plan(&self, id: &str, found: &Found, only: Option<&[String]>) -> Result<(), Trouble> {
        let policies = &self.policies()?;
        let unknown: Vec<&str> =
            only.unwrap_or_default().iter().filter(|name| policies.named(name).is_none()).map(String::as_str).collect();
        if !unknown.is_empty() {
            let trouble = format!("there is no policy {}: coordinator verify policies lists them", unknown.join(", "));
            return self.ask("plan_verification", json!({"changeset_id": id, "trouble": trouble})).map(drop);
        }
        self.plan_with(id, found, &planning::needed(policies, &found.changed, only))
    }

    /// Plans a changeset with these policies.
    pub fn plan_with(&self, id: &str, found: &Found, policies: &[&Policy]) -> Result<(), Trouble> {
        let plan = planning::plan(id.parse().unwrap_or_default(), found, policies);
        let runs: Vec<Value> = plan.runs.iter().map(run_request).collect();
        let request = json!({
            "changeset_id": id, "commit": plan.commit, "tree": plan.tree, "base": plan.base,
            "changed_paths": plan.changed_paths, "changed_total": plan.changed_total, "runs": runs,
        });
        self.ask("plan_verification", request).map(drop)
    }

    /// Runs what can be run here, of this changeset or of any, until nothing is left or it is stopped. Answers how many runs
    /// that were.
    pub fn work(&self, changeset: Option<&str>, stop: &Stop, tell: &mut dyn FnMut(Ran)) -> Result<usize, Trouble> {
        let mut runs = 0;
        while !stop.is_stopped() {
            let request = json!({
                "changeset_id": changeset, "lease_seconds": self.lease_seconds, "executors": self.executors(),
            });
            let claimed = self.ask("claim_verification", request)?;
            if claimed["success"] != true {
                break;
            }
            tell(self.run(&claimed, stop)?);
            runs += 1;
        }
        Ok(runs)
    }

    /// What can be run here.
    fn executors(&self) -> Vec<&'static str> {
        let all = [Executor::Inline, Executor::Command, Executor::Github].into_iter();
        all.filter(|executor| *executor != Executor::Github || self.actions.is_ok()).map(Executor::as_str).collect()
    }

    /// Why a run waits that GitHub is to have, if it is because this runner cannot start it.
    pub fn cannot_start(&self, changeset: &Value) -> Option<String> {
        let why = self.actions.as_ref().err()?;
        let waits = |run: &&Value| text(run, "executor") == "github" && text(run, "state") == "queued";
        let run = items(changeset, "runs").iter().find(waits)?;
        Some(format!("{} runs on GitHub, which cannot be started here: {why}", text(run, "policy")))
    }

    /// How long to wait for an end of which we may have to ask GitHub.
    pub fn pause(&self, seconds: u32) -> u32 {
        if self.actions.is_ok() { 1 } else { seconds }
    }

    /// Takes in what has ended on GitHub, if it is time to look.
    pub fn follow(&self, tell: &mut dyn FnMut(Ran)) -> Result<(), Trouble> {
        let Ok(actions) = &self.actions else { return Ok(()) };
        for ended in actions.follow()? {
            tell(Ran { policy: ended.policy, revision: ended.revision, state: ended.state.as_str().to_owned() });
        }
        Ok(())
    }

    /// Removes what runs that are over have left on GitHub.
    pub fn tidy(&self) {
        if let Ok(actions) = &self.actions {
            actions.tidy();
        }
    }

    /// Removes it now and then.
    pub fn tidy_sometimes(&self) {
        if let Ok(actions) = &self.actions {
            actions.tidy_sometimes();
        }
    }

    fn run(&self, claimed: &Value, stop: &Stop) -> Result<Ran, Trouble> {
        let (run_id, token, changeset) = (text(claimed, "run_id"), claimed["token"].as_i64(), &claimed["changeset"]);
        let run = items(changeset, "runs").iter().find(|run| text(run, "run_id") == run_id);
        let name = run.map(|run| text(run, "policy")).unwrap_or_default();
        let is_mine = json!({"run_id": run_id, "token": token});
        let renewed = Stop::default();
        let ended = thread::scope(|scope| {
            let (over, is_over) = mpsc::channel::<()>();
            scope.spawn(|| {
                let is_over = is_over;
                self.renew(&is_mine, &is_over, stop, &renewed);
            });
            let ended = self.verify(&is_mine, name, changeset, &renewed);
            drop(over);
            ended
        });
        let state = match ended {
            Ok(state) => state,
            Err(trouble) => {
                // Somebody else has it, or another policy failed: what we found is not wanted.
                let found = self.changeset(text(changeset, "changeset_id"), 0)?;
                let now = items(&found, "runs").iter().find(|run| text(run, "run_id") == run_id);
                match now.map(|run| text(run, "state")) {
                    Some(state) if state != "running" => state.to_owned(),
                    _ => return Err(trouble),
                }
            }
        };
        Ok(Ran { policy: name.to_owned(), revision: text(changeset, "revision").to_owned(), state })
    }

    /// Renews the lease until the run is over; a refusal stops it.
    fn renew(&self, is_mine: &Value, is_over: &mpsc::Receiver<()>, stop: &Stop, renewed: &Stop) {
        const LOOK: Duration = Duration::from_millis(100);
        let every = Duration::from_secs(u64::from(self.lease_seconds)) / 3;
        let mut waited = Duration::ZERO;
        while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            waited += LOOK;
            if stop.is_stopped() {
                return renewed.stop();
            }
            if waited >= every {
                waited = Duration::ZERO;
                let request = with(is_mine, json!({"lease_seconds": self.lease_seconds}));
                if self.ask("renew_verification", request).is_err() {
                    return renewed.stop();
                }
            }
        }
    }

    /// Runs one policy, and says what came of it.
    fn verify(&self, is_mine: &Value, name: &str, changeset: &Value, stop: &Stop) -> Result<String, Trouble> {
        let report = |verdict: &str, summary: String| {
            self.ask("report_verification", with(is_mine, json!({"verdict": verdict, "summary": summary})))
                .map(|answer| text(&answer, "state").to_owned())
        };
        let policies = self.policies()?;
        let Some(policy) = policies.named(name) else {
            return report(
                "errored",
                format!("neither the runner's coordinator.toml nor the project has a policy {name}"),
            );
        };
        let (commit, tree) = (text(changeset, "commit"), text(changeset, "tree"));
        let Ok(id) = ObjectId::new(commit) else {
            return report("errored", format!("{commit:?} is no commit's id"));
        };
        if let Some(workflow) = &policy.workflow {
            return self.hand_over(is_mine, policy, workflow, &id, tree);
        }
        let worktree = match self.git.temporary_worktree(&id, None) {
            Ok(worktree) => worktree,
            Err(error) => return report("errored", format!("{commit} cannot be checked out here: {error}")),
        };
        let ready = match self.checker.prepare(policy, worktree.path(), tree, stop) {
            Ok(ready) => ready,
            Err(why) => return report("errored", why),
        };
        let bound = with(is_mine, json!({"lease_seconds": self.lease_seconds, "key": ready.key.as_str()}));
        let bound = self.ask("renew_verification", bound)?;
        if text(&bound, "state") != "running" {
            return Ok(text(&bound, "state").to_owned());
        }
        let question = Question {
            changeset_id: some(changeset, "changeset_id"),
            run_id: some(is_mine, "run_id"),
            token: is_mine["token"].as_i64(),
            policy: name,
            commit,
            tree,
            base: text(changeset, "base"),
            repository: self.git.common_dir(),
            directory: worktree.path(),
            command: &policy.command,
            timeout_seconds: policy.timeout.as_secs(),
            environment: &policy.environment,
        };
        let said = self.checker.run(policy, ready, &question, stop);
        let verdict = serde_json::to_value(said.verdict).unwrap_or_default();
        let answer = json!({
            "verdict": verdict, "summary": said.evidence, "log_url": said.log_url, "external_id": said.external_id,
        });
        let answer = self.ask("report_verification", with(is_mine, answer))?;
        Ok(text(&answer, "state").to_owned())
    }
}

impl Runner {
    /// Hands a run over to GitHub, unless the same has passed there before.
    fn hand_over(
        &self,
        is_mine: &Value,
        policy: &Policy,
        workflow: &Workflow,
        commit: &ObjectId,
        tree: &str,
    ) -> Result<String, Trouble> {
        let report = |report: Value| {
            let answer = self.ask("report_verification", with(is_mine, report))?;
            Ok(text(&answer, "state").to_owned())
        };
        let key = Key::of(policy, tree, &[]);
        let bound = with(is_mine, json!({"lease_seconds": self.lease_seconds, "key": key.as_str()}));
        let bound = self.ask("renew_verification", bound)?;
        if text(&bound, "state") != "running" {
            return Ok(text(&bound, "state").to_owned());
        }
        let started = match (&self.actions, text(is_mine, "run_id").parse()) {
            (Ok(actions), Ok(run_id)) => actions.start(workflow, run_id, commit).map(|id| (actions, id)),
            (Err(why), _) => Err(why.clone()),
            (_, Err(error)) => Err(format!("the run's id is none: {error}")),
        };
        match started {
            Ok((actions, external_id)) => {
                let said = json!({"verdict": "accepted", "external_id": external_id, "summary": "GitHub has it"});
                let state = report(said)?;
                // It may have ended before anybody could know whose it was.
                actions.read()?;
                Ok(state)
            }
            Err(why) => report(json!({"verdict": "errored", "summary": why})),
        }
    }
}

/// The only policies that are wanted, where not all are.
pub fn names(changeset: &Value) -> Option<Vec<String>> {
    let names = changeset["policies"].as_array()?;
    Some(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
}

fn is_old(changeset: &Value) -> bool {
    let age = instant(changeset, "created_at").map(|at| jiff::Timestamp::now().duration_since(at));
    age.is_some_and(|age| age.unsigned_abs() > PATIENCE)
}

fn run_request(run: &PlannedRun) -> Value {
    let request = json!({
        "policy": run.policy, "tier": run.tier, "executor": run.executor.as_str(),
        "timeout_seconds": run.timeout_seconds,
        "needs_approval": run.approval_id.is_some() && run.executor != Executor::Human,
    });
    with(&request, json!({"key": run.key}))
}

/// The fields of both, but for those that are null.
fn with(fields: &Value, more: Value) -> Value {
    let mut all = fields.clone();
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    all
}

pub fn git_failed(error: git::Error) -> Trouble {
    Trouble::new(Exit::Refused, "git_failed", error.to_string())
}
