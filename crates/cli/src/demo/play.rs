//! The run of the demo: tasks are submitted, agents started, watched, one killed, the rest sent home.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use coordinator::operation::Door;
use coordinator::settings::Settings;
use coordinator::{Coordinator, registry};
use jiff::Timestamp;
use model::id::{AgentId, Caller, SessionId};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::checks::{self, Check};
use super::display::Display;
use super::fleet::{self, Heard, Member, ending};
use super::git::WorkTree;
use super::project::{self, Work};
use super::report::{Answer, Report};
use super::story::{Killing, Story, Trial};

/// Who submits the tasks.
const PLANNER: &str = "demo";
/// How often the records are read and the picture is drawn.
const TICK: Duration = Duration::from_millis(80);
/// How long the agent that is to die is left standing half-way, for whoever watches.
const GRACE: Duration = Duration::from_millis(500);
/// When we stop to believe in a good end.
const TOO_LONG: Duration = Duration::from_secs(90);
/// How long an agent may take to go when it is told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// A run.
pub struct Demo {
    coordinator: Coordinator,
    story: Story,
    members: Vec<Member>,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// When the agent that is half-way will be killed, and which it is.
    fate: Option<(Instant, usize)>,
}

impl Demo {
    /// Submits the tasks and starts the agents, each in a work tree of its own.
    ///
    /// # Errors
    /// When git, the coordinator or an agent cannot be started.
    pub async fn prepare(main: &WorkTree, directory: &Path, names: &[&str]) -> Result<Self> {
        let settings = fleet::settings();
        let env = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let coordinator = Coordinator::open(Settings::load(env, &main.path)?).await?;
        let (tell, heard) = mpsc::unbounded_channel();
        let mut demo = Self { coordinator, story: Story::new(names, vec![]), members: vec![], heard, fate: None };
        demo.story.plan = demo.submit_all().await?;
        // All work trees before the first agent: git reads those of others when it switches branches, and dies of one that
        // is only half made.
        for name in names {
            let worktree = directory.join(name);
            let path = worktree.to_str().context("the temporary directory's name is not Unicode")?;
            main.git(&["worktree", "add", "--quiet", "--detach", path, "main"]).await?;
        }
        for (index, name) in names.iter().enumerate() {
            let log = directory.join(format!("{name}.log"));
            demo.members.push(Member::start(index, name, &directory.join(name), &main.path, log, tell.clone())?);
        }
        Ok(demo)
    }

    async fn submit_all(&mut self) -> Result<Vec<(Uuid, Work)>> {
        let planner = Caller { agent_id: AgentId::new(PLANNER)?, agent_type: "demo".into(), session_id: None };
        let mut plan: Vec<(Uuid, Work)> = vec![];
        for work in project::works() {
            let needs = |(_, done): &&(Uuid, Work)| work.needs.contains(&done.name);
            let depends_on: Vec<Uuid> = plan.iter().filter(needs).map(|(id, _)| *id).collect();
            let task = json!({
                "task_type": "implement",
                "description": format!("{}: {}", work.name, work.summary),
                "input_data": work,
                "depends_on": depends_on,
            });
            let answer = self.call(&planner, "submit_work", task).await?.map_err(|code| anyhow::anyhow!(code))?;
            plan.push((serde_json::from_value(answer["task_id"].clone())?, work));
        }
        Ok(plan)
    }

    /// Calls an operation in someone's name and notes the answer; a refusal is its code.
    async fn call(&mut self, caller: &Caller, operation: &str, arguments: Value) -> Result<Result<Value, String>> {
        let entry = registry::find(operation).with_context(|| format!("there is no operation {operation}"))?;
        let project = self.coordinator.default_project();
        let answer = match self.coordinator.call(entry, project, caller, Door::Mcp, arguments).await {
            Ok(answer) if answer["success"] == false => Err(answer["reason"].as_str().unwrap_or("refused").to_owned()),
            Ok(answer) => Ok(answer),
            Err(failure) => Err(failure.code().to_owned()),
        };
        let token = answer.as_ref().ok().and_then(|answer| answer["fencing_token"].as_i64());
        let noted = Answer { operation: operation.into(), success: answer.is_ok(), token };
        self.story.answers.push((caller.agent_id.to_string(), noted));
        Ok(answer)
    }

    /// What is known of the run.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// Watches to the end, and checks what became of it.
    ///
    /// # Errors
    /// When somebody interrupts, an agent gives up, or the records cannot be read.
    pub async fn play(&mut self, display: &mut Display, main: &WorkTree) -> Result<Vec<Check>> {
        self.watch(display).await?;
        self.dismiss(display).await;
        self.story.look(&self.coordinator).await?;
        checks::all(&self.story, &self.coordinator, main).await
    }

    /// Watches until every task has ended.
    async fn watch(&mut self, display: &mut Display) -> Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        let [interrupt, terminate, hangup] = &mut signals;
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => self.hear(heard, display).await?,
                _ = ticks.tick() => {
                    self.story.look(&self.coordinator).await?;
                    self.kill_when_due(display).await?;
                    self.try_dead_tokens(display).await?;
                    display.draw(&self.story)?;
                    if display.is_cancelled()? {
                        bail!("interrupted");
                    }
                    if self.story.is_done() || self.story.started.elapsed() > TOO_LONG {
                        return Ok(());
                    }
                }
                _ = interrupt.recv() => bail!("interrupted"),
                _ = terminate.recv() => bail!("terminated"),
                _ = hangup.recv() => bail!("the terminal is gone"),
            }
        }
    }

    async fn hear(&mut self, heard: Heard, display: &mut Display) -> Result<()> {
        match heard {
            Heard::Line(index, line) => {
                if matches!(line.report, Report::HalfWay { .. }) {
                    self.fate = Some((Instant::now() + GRACE, index));
                }
                display.tell(&self.story, index, &line.report);
                self.story.hear(index, line);
            }
            Heard::Silence(index) if self.story.agents[index].ending.is_none() => {
                let ending = ending(self.members[index].ended(FAREWELL).await);
                let complaints = self.members[index].complaints();
                bail!("agent {} ended early, with {ending}: {complaints}", self.story.agents[index].name);
            }
            Heard::Silence(_) => {}
        }
        Ok(())
    }

    /// Kills the agent that is half-way, with its MCP child, and notes what it held at that moment.
    async fn kill_when_due(&mut self, display: &mut Display) -> Result<()> {
        let Some((_, index)) = self.fate.filter(|(due, _)| *due <= Instant::now()) else { return Ok(()) };
        self.fate = None;
        let name = self.story.agents[index].name.clone();
        let locks = self.story.now.locks.iter().filter(|lock| lock.agent_id.as_str() == name).cloned().collect();
        let holds = |task: &&model::work::Task| {
            task.status.is_held() && task.claimed_by.as_ref().is_some_and(|agent| agent.as_str() == name)
        };
        let task = self.story.now.tasks.iter().find(holds).cloned();
        // Silence is expected from here on.
        self.story.agents[index].ending = Some("killed".into());
        let ending = ending(Some(self.members[index].kill().await?));
        let (at, after) = (Timestamp::now(), self.story.started.elapsed());
        self.story.agents[index].ending = Some(ending.clone());
        self.story.agents[index].since = Instant::now();
        for edit in self.story.edits.iter_mut().filter(|edit| edit.agent == name && edit.until.is_none()) {
            edit.until = Some(at);
        }
        display.note(&self.story, &name, "is KILLED, and its MCP child with it");
        self.story.killing = Some(Killing { agent: name, at, after, locks, task, ending });
        Ok(())
    }

    /// As soon as the dead agent's session has ended and another has its task: does its word still count?
    ///
    /// First as a process that only slept and wakes up, then as one that was started again under the same name.
    async fn try_dead_tokens(&mut self, display: &mut Display) -> Result<()> {
        let is_over = self.story.dead_session().is_none() && self.story.heir().is_some();
        if !self.story.trials.is_empty() || !is_over {
            return Ok(());
        }
        let Some(killing) = &self.story.killing else { return Ok(()) };
        let Some(task) = killing.task.clone() else { return Ok(()) };
        let lock = killing.locks.first().cloned();
        let asleep = Caller {
            agent_id: AgentId::new(killing.agent.as_str())?,
            agent_type: lock.as_ref().map_or_else(String::new, |lock| lock.agent_type.clone()),
            session_id: task.session_id.clone(),
        };
        let restarted = Caller { session_id: Some(SessionId::new(Uuid::now_v7().to_string())?), ..asleep.clone() };
        let complete = json!({"task_id": task.task_id, "success": true, "fencing_token": task.fencing_token});
        let attempts = [
            (&asleep, "complete_work with the old token", "session_expired"),
            (&restarted, "the same after a restart", "task_not_found_or_not_claimed_by_agent"),
        ];
        for (caller, what, expected) in attempts {
            if caller == &restarted {
                self.call(caller, "register_session", json!({})).await?.map_err(|code| anyhow::anyhow!(code))?;
            }
            self.attempt(caller, what, "complete_work", complete.clone(), expected).await?;
        }
        if let Some(lock) = lock {
            let what = format!("acquire_lock {} with the old token", lock.key);
            let refresh = json!({"file_path": lock.key.as_str(), "fencing_token": lock.fencing_token});
            self.attempt(&restarted, &what, "acquire_lock", refresh, "stale_fencing_token").await?;
        }
        for trial in &self.story.trials {
            let verdict = if trial.refused { "refused" } else { "NOT refused" };
            display.note(&self.story, asleep.agent_id.as_str(), &format!("{verdict}: {}: {}", trial.what, trial.code));
        }
        Ok(())
    }

    /// It is refused only if it is refused for the right reason.
    async fn attempt(
        &mut self,
        caller: &Caller,
        what: &str,
        operation: &str,
        arguments: Value,
        expected: &str,
    ) -> Result<()> {
        let code = self.call(caller, operation, arguments).await?.map_or_else(|code| code, |_| "accepted".into());
        self.story.trials.push(Trial { what: what.to_owned(), refused: code == expected, code });
        Ok(())
    }

    /// Sends the agents home and hears them out.
    async fn dismiss(&mut self, display: &mut Display) {
        self.members.iter_mut().for_each(Member::dismiss);
        for index in 0..self.members.len() {
            if self.story.agents[index].ending.is_none() {
                let status = self.members[index].ended(FAREWELL).await;
                let mut ending = ending(status);
                if !status.is_some_and(|status| status.success()) {
                    ending = format!("{ending}: {}", self.members[index].complaints());
                }
                self.story.agents[index].ending = Some(ending);
            }
        }
        // What they said before they went, to the last word.
        while let Ok(Some(heard)) = tokio::time::timeout(FAREWELL, self.heard.recv()).await {
            // They all have an ending: their silence is expected.
            let _ = self.hear(heard, display).await;
        }
    }
}
