//! `coordinator merge run`: lands what the queue holds, each commit as it was verified.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use landing::{Entry, Error, Event, Queue, QueueError, Runner, Style, Target};
use merging::{EntryId, Fate, Rules, Verdict};
use model::key::LockKey;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use verification::inline::Stop;

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, some, text};
use crate::merge::verifying::Recorded;
use crate::output;
use crate::verify::runner;

/// How often an entry is checked again that is not ready.
const CHECK_AGAIN: Duration = Duration::from_secs(30);
/// How long to wait before the queue is looked at again.
const WATCH: Duration = Duration::from_secs(2);
/// How long a run is ours without a sign of life: whoever lands after us waits for that.
const LEASE_SECONDS: u32 = 15;
/// So much of a reason is kept, in characters.
const NOTE: usize = 3900;

/// What to land on, and how.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The branch to land on, which must be the one that entries are checked against: MERGE_TARGET (merge_target in
    /// coordinator.toml), else the repository's default branch
    #[arg(long, value_name = "BRANCH")]
    target: Option<String>,
    /// Land on this remote's branch, by a push, instead of the one here
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,
    /// One commit for each entry instead of a merge commit
    #[arg(long)]
    squash: bool,
    /// How many runs of the tests at once
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    slots: u8,
    /// Go on as entries come, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Land without a test, where coordinator.toml has no [[verification]]
    #[arg(long)]
    unverified: bool,
}

/// Lands until nothing is left that can be landed, or for ever.
pub async fn run(desk: &Desk, run: Run) -> anyhow::Result<Exit> {
    let settings = desk.coordinator.settings();
    let refused = |code, message: String| Trouble::new(Exit::Refused, code, message);
    let policies =
        desk.coordinator.verification_policies(desk.coordinator.default_project()).await.map_err(Trouble::from)?;
    if policies.all().is_empty() && !run.unverified {
        let message = "nothing would be tested: say in coordinator.toml what must pass, as [[verification]] with name, globs, \
                       tier and command (docs/merging.md), or land without a test by --unverified";
        return Err(refused("nothing_verifies", message.into()).into());
    }
    let on_github = policies.all().iter().find(|policy| policy.workflow.is_some());
    if let (Some(policy), Err(why)) = (on_github, settings.github.connection()) {
        return Err(refused("github_not_set_up", format!("{} runs on GitHub: {why}", policy.name)).into());
    }
    let (worktree, is_json) = (settings.worktree.clone(), desk.json);
    let worktree = worktree.ok_or_else(|| refused("no_repository", "this is no git repository".into()))?;
    let verifying = runner::Runner::open(desk.clone(), Handle::current(), &worktree, LEASE_SECONDS)?;
    let mut known = Known::default();
    loop {
        let (desk, options, verifying) = (desk.clone(), Options::of(&run), verifying.clone());
        let handle = Handle::current();
        // Git and the tests are waited for, which would hold up the coordinator here.
        let told = known.waiting.clone();
        known = tokio::task::spawn_blocking(move || land(desk, handle, verifying, options, known)).await??;
        for (id, why) in known.waiting.iter().filter(|(id, why)| told.get(*id) != Some(*why)) {
            output::print(waits(is_json, id, why))?;
        }
        if !run.watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(WATCH).await;
    }
}

struct Options {
    target: Option<String>,
    remote: Option<String>,
    style: Style,
    slots: usize,
}

impl Options {
    fn of(run: &Run) -> Self {
        Self {
            target: run.target.clone(),
            remote: run.remote.clone(),
            style: if run.squash { Style::Squash } else { Style::Merge },
            slots: run.slots.into(),
        }
    }
}

fn land(
    desk: Desk,
    handle: Handle,
    verifying: runner::Runner,
    options: Options,
    known: Known,
) -> Result<Known, Trouble> {
    let refused = |code, message: String| Trouble::new(Exit::Refused, code, message);
    let failed = |error: git::Error| refused("git_failed", error.to_string());
    let git = verifying.git.clone();
    let named = desk.coordinator.settings().merge_target.clone();
    let checked = match &named {
        Some(name) => Some(name.clone()),
        None => git.default_branch().map_err(failed)?,
    };
    let branch = match (options.target, checked) {
        (Some(target), Some(checked)) if target != checked => {
            let by = if named.is_some() { "MERGE_TARGET says so" } else { "it is the default branch" };
            let message = format!(
                "entries are checked against {checked} ({by}), and --target is {target}: what was checked against one branch \
                 is not landed on another. Set merge_target = \"{target}\" in coordinator.toml, for everybody, or leave \
                 --target out"
            );
            return Err(refused("target_differs", message));
        }
        (target, checked) => target.or(checked).ok_or_else(|| {
            refused(
                "no_target",
                "the repository has no default branch: name one as merge_target in coordinator.toml".into(),
            )
        })?,
    };
    let json = desk.json;
    let verifier = Recorded::new(verifying.clone(), verifying.policies()?);
    let mut queue = Coordinated { desk, handle, verifying, known, taken: BTreeSet::new(), owners: BTreeMap::new() };
    let mut runner = Runner {
        git,
        target: match options.remote {
            Some(remote) => Target::Remote { remote, branch },
            None => Target::Local { branch },
        },
        style: options.style,
        rules: Rules { slots: options.slots, ..Rules::default() },
        verifier: Arc::new(verifier),
        after: &|_| {},
        tell: &mut |event| {
            let said = if json { as_json(&event).to_string() } else { output::printable(&in_words(&event)) };
            // Nobody may be listening any more, which is no reason not to land.
            let _ = output::print(said);
        },
    };
    let ended = runner.run(&mut queue);
    queue.give_back();
    queue.verifying.tidy_sometimes();
    ended.map_err(|error| match error {
        Error::Busy => refused("landing_already", error.to_string()),
        Error::CheckedOut { .. } => refused("target_checked_out", error.to_string()),
        Error::Refused { .. } => refused("target_refused", error.to_string()),
        Error::NoTarget(_) => refused("no_target", error.to_string()),
        error => refused("landing_failed", error.to_string()),
    })?;
    Ok(queue.known)
}

/// The name of the command that keeps what is run, for this program to start itself as.
pub const KEEPER: &str = "keeper";

/// What is known of entries that cannot be landed yet.
#[derive(Debug, Default)]
struct Known {
    /// When they were checked.
    checked: HashMap<String, Instant>,
    /// Why they wait.
    waiting: BTreeMap<String, String>,
}

/// The coordinator's queue.
struct Coordinated {
    desk: Desk,
    handle: Handle,
    /// What runs what is to pass before people are asked.
    verifying: runner::Runner,
    known: Known,
    /// Entries that are being landed by us.
    taken: BTreeSet<String>,
    /// Who queued them.
    owners: BTreeMap<String, String>,
}

impl Coordinated {
    fn ask(&self, operation: &str, request: Value) -> Result<Value, QueueError> {
        self.handle.block_on(self.desk.ask(operation, request)).map_err(|trouble| QueueError(trouble.to_string()))
    }

    /// Runs the checks of an entry. What has to pass before people are asked is run here, and then they are asked.
    fn check(&mut self, id: &str) -> Result<String, QueueError> {
        let mut answer = self.ask("run_pre_merge_checks", json!({"feature_id": id}))?;
        let waits_for_people = |answer: &Value| {
            items(answer, "checks").iter().any(|check| text(check, "name") == "approvals" && check["passed"] == false)
        };
        if waits_for_people(&answer) && self.verify_before_people(id)? > 0 {
            answer = self.ask("run_pre_merge_checks", json!({"feature_id": id}))?;
        }
        let why = items(&answer, "issues").first().and_then(Value::as_str);
        match (text(&answer, "state"), why) {
            ("queued", Some(why)) => self.known.waiting.insert(id.to_owned(), why.to_owned()),
            _ => self.known.waiting.remove(id),
        };
        if text(&answer, "state") == "blocked" {
            let issues: Vec<&str> = items(&answer, "issues").iter().filter_map(Value::as_str).collect();
            self.tell_owner(id, &format!("{id} cannot be merged: {}", issues.join("\n")));
        }
        Ok(text(&answer, "state").to_owned())
    }

    fn verify_before_people(&self, id: &str) -> Result<usize, QueueError> {
        let told = |trouble: Trouble| QueueError(trouble.to_string());
        self.verifying.follow(&mut |_| {}).map_err(told)?;
        let open = self.ask("list_changesets", json!({"feature_id": id, "state": "running", "limit": 20}))?;
        let mut runs = 0;
        for changeset in items(&open, "changesets").iter().filter(|changeset| text(changeset, "trigger") == "branch") {
            let changeset_id = text(changeset, "changeset_id");
            runs += self.verifying.work(Some(changeset_id), &Stop::default(), &mut |_| {}).map_err(told)?;
        }
        Ok(runs)
    }

    /// Brings an entry to where it may be landed, if it can come there now.
    fn admit(&mut self, id: &str, state: &str) -> Result<bool, QueueError> {
        let state = match state {
            "queued" | "pre_merge_check" => {
                if self.known.checked.get(id).is_some_and(|at| at.elapsed() < CHECK_AGAIN) {
                    return Ok(false);
                }
                self.known.checked.insert(id.to_owned(), Instant::now());
                self.check(id)?
            }
            state => state.to_owned(),
        };
        match state.as_str() {
            // Whoever was at it before us is gone: only one lands in a repository at a time.
            "merging" => Ok(true),
            "ready" => {
                let step = self.ask("set_merge_state", json!({"feature_id": id, "state": "merging"}));
                Ok(step.is_ok())
            }
            _ => Ok(false),
        }
    }

    /// Tells whoever queued an entry what became of it. The queue says it in any case.
    fn tell_owner(&self, id: &str, what: &str) {
        let Some(owner) = self.owners.get(id) else { return };
        let text: String = what.chars().take(NOTE).collect();
        // Not every id can be in a key.
        let thread = Some(format!("feature:{id}:merge")).filter(|key| LockKey::parse(key).is_ok());
        let _ = self.ask("send_message", json!({"to": owner, "text": text, "thread": thread}));
    }

    /// What was begun and not ended can be landed later.
    fn give_back(&mut self) {
        for id in std::mem::take(&mut self.taken) {
            // One that moved on meanwhile stays where it is.
            let _ = self.ask("set_merge_state", json!({"feature_id": id, "state": "ready"}));
        }
    }
}

impl Queue for Coordinated {
    fn entries(&mut self) -> Result<Vec<Entry>, QueueError> {
        let queue = self.ask("get_merge_queue", json!({}))?;
        let features = self.ask("list_active_features", json!({}))?;
        let claims = |id: &str| -> Vec<LockKey> {
            let feature = items(&features, "features").iter().find(|feature| text(feature, "feature_id") == id);
            let claims = feature.map(|feature| items(feature, "resource_claims")).unwrap_or_default();
            claims.iter().filter_map(|claim| LockKey::parse(claim.as_str()?).ok()).collect()
        };
        let mut entries = vec![];
        for entry in items(&queue, "entries") {
            let id = text(entry, "feature_id");
            // A pull request without a branch is merged where it is.
            let Some(branch) = some(entry, "branch_name") else { continue };
            self.owners.insert(id.to_owned(), text(entry, "enqueued_by").to_owned());
            if !self.admit(id, text(entry, "state"))? {
                continue;
            }
            self.taken.insert(id.to_owned());
            entries.push(Entry {
                id: EntryId::new(id),
                branch: branch.to_owned(),
                title: some(entry, "title").unwrap_or(id).to_owned(),
                claims: claims(id),
                ejections: entry["ejections"].as_u64().and_then(|number| number.try_into().ok()).unwrap_or_default(),
            });
        }
        Ok(entries)
    }

    fn merged(&mut self, entry: &EntryId, commit: &str) -> Result<(), QueueError> {
        self.ask("mark_merged", json!({"feature_id": entry.as_str(), "commit": commit}))?;
        self.taken.remove(entry.as_str());
        Ok(())
    }

    fn ejected(&mut self, entry: &EntryId, fate: Fate, why: &str) -> Result<(), QueueError> {
        let id = entry.as_str();
        let note: String = why.chars().take(NOTE).collect();
        self.ask("set_merge_state", json!({"feature_id": id, "state": "blocked", "note": note}))?;
        self.taken.remove(id);
        let next = match fate {
            Fate::MayReturn => format!("Mend it on its branch, then `coordinator merge enqueue {id}`."),
            Fate::Abandoned => "It was ejected too often and is not tried again by itself.".into(),
        };
        self.tell_owner(id, &format!("{id} was taken out of the merge queue: {note}\n{next}"));
        Ok(())
    }
}

fn waits(is_json: bool, id: &str, why: &str) -> String {
    match is_json {
        true => json!({"event": "waiting", "feature_id": id, "why": why}).to_string(),
        false => output::printable(&format!("{id} waits: {why}")),
    }
}

fn in_words(event: &Event) -> String {
    match event {
        Event::Testing { run, commit, entries } => {
            let names: Vec<&str> = entries.iter().map(EntryId::as_str).collect();
            format!("{run}: testing {} with {}", short(commit.as_str()), names.join(", "))
        }
        Event::Tested { run, verdict: Verdict::Passed } => format!("{run}: passed"),
        Event::Tested { run, verdict: Verdict::Failed(why) } => {
            format!("{run}: failed: {}", why.lines().next().unwrap_or_default())
        }
        Event::Landed { entry, commit } => format!("{entry} is landed, as {}", short(commit.as_str())),
        Event::Ejected { entry, why, .. } => format!("{entry} is taken out: {why}"),
        Event::TargetMoved { to } => format!("the target was moved by somebody else, to {}", short(to.as_str())),
    }
}

fn as_json(event: &Event) -> Value {
    match event {
        Event::Testing { run, commit, entries } => {
            let names: Vec<&str> = entries.iter().map(EntryId::as_str).collect();
            json!({"event": "testing", "run": run.0, "commit": commit.as_str(), "entries": names})
        }
        Event::Tested { run, verdict } => match verdict {
            Verdict::Passed => json!({"event": "tested", "run": run.0, "passed": true}),
            Verdict::Failed(why) => json!({"event": "tested", "run": run.0, "passed": false, "why": why}),
        },
        Event::Landed { entry, commit } => {
            json!({"event": "landed", "feature_id": entry.as_str(), "commit": commit.as_str()})
        }
        Event::Ejected { entry, fate, why } => {
            json!({"event": "ejected", "feature_id": entry.as_str(), "may_return": *fate == Fate::MayReturn, "why": why})
        }
        Event::TargetMoved { to } => json!({"event": "target_moved", "commit": to.as_str()}),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
