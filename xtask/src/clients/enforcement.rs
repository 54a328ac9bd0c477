//! Two agents at once in one repository, after nothing but `coordinator init`: real command lines, each with an empty home and
//! a script in the place of its model, that know nothing of the coordinator. What one is at, the other cannot overwrite.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::agents::{CLIS, Cli, Environment, write};
use super::ground::{Ground, node_program, success};
use super::model::{Model, Step};
use super::{Outcome, Trials};
use crate::tools::{self, NO_NODE};

/// Who is killed, and who goes on. Each command line is once of each.
const PAIRS: [(&str, &str); 3] = [("claude", "codex"), ("codex", "gemini"), ("gemini", "claude")];
/// How long the dead keep what they hold. The default is a quarter of an hour, which is longer than anybody wants to look on.
const SESSION_SECONDS: u64 = 8;
/// How much longer it may take until that is noticed.
const PATIENCE: Duration = Duration::from_secs(SESSION_SECONDS + 10);
/// What ends by itself and does not is stuck.
const END_LIMIT: Duration = Duration::from_secs(60);
/// Where nobody but its owner looks.
const SECRET: &str = "hunter2-of-the-shop";
const SUMMARY: &str = "half of a is written, the rest is not";

/// Tries each pair.
pub async fn run(ground: &Ground, trials: &mut Trials) {
    for (first, second) in PAIRS {
        trials.attempt(&format!("enforcement {first} {second}"), play(ground, first, second)).await;
    }
}

async fn play(ground: &Ground, first: &'static str, second: &'static str) -> anyhow::Result<Outcome> {
    let Some(node) = tools::need_node()? else { return Ok(Outcome::Skipped(NO_NODE)) };
    let place = ground.directory(&format!("enforcement-{first}-{second}"))?;
    let repository = scratch_repository(&place).await?;
    let first = Agent::hire(&place, &repository, &node, first).await?;
    let second = Agent::hire(&place, &repository, &node, second).await?;
    for agent in [&first, &second] {
        let mut init = agent.command(&ground.coordinator);
        success(init.arg("init")).await.context("coordinator init")?;
    }

    let bob = second.start().await?;
    bob.does(&Deed::Read("src/a.rs")).await?;
    let ann = first.start().await?;
    ann.does(&Deed::Read("src/a.rs")).await?;
    ann.does(&Deed::Edit("src/a.rs", "fn a() {}", "fn a() { ann(); }")).await?;
    let of_ann = "fn a() { ann(); }\n";
    holds(&repository, "src/a.rs", of_ann)?;

    // Bob is kept out of where Ann is, told why, and of nothing else.
    let over = Deed::Edit("src/a.rs", "fn a() {", "fn a() { bob();");
    let denied = bob.does(&over).await?;
    holds(&repository, "src/a.rs", of_ann)?;
    ensure!(denied.contains(" holds src/a.rs") && denied.contains(" until "), "bob was told {denied}");
    bob.does(&Deed::Read("src/b.rs")).await?;
    bob.does(&Deed::Edit("src/b.rs", "fn b() {}", "fn b() { bob(); }")).await?;
    holds(&repository, "src/b.rs", "fn b() { bob(); }\n")?;

    let pushed = bob.does(&Deed::Run("git push --force")).await?;
    ensure!(!pushed.contains("fatal:") && !pushed.contains("No configured push"), "git was run: {pushed}");
    let read = bob.does(&Deed::Run("cat .env")).await?;
    ensure!(!read.contains(SECRET), "the secret was read: {read}");
    let status = bob.does(&Deed::Run("git status --short")).await?;
    ensure!(status.contains("src/b.rs"), "git status was not run: {status}");

    let handoff = json!({"summary": SUMMARY, "next_steps": ["finish a"]});
    ann.does(&Deed::Call("write_handoff", handoff)).await?;
    ann.kill()?;
    let killed = Instant::now();

    // As long as the dead hold it Bob is denied; then because he has not seen what they did; and then not. It is we who look
    // whether it is free: an agent that does one thing over and over is stopped by its own command line.
    let mut look = second.command(&ground.coordinator);
    look.args(["locks", "src/a.rs", "--json"]);
    loop {
        let locks = success(&mut look).await?;
        if serde_json::from_str::<Value>(&locks)?.as_array().is_some_and(Vec::is_empty) {
            break;
        }
        ensure!(killed.elapsed() < PATIENCE, "after {:?} the dead still hold it: {locks}", killed.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let freed = killed.elapsed();
    let stale = bob.does(&over).await?;
    holds(&repository, "src/a.rs", of_ann).with_context(|| format!("bob was told {stale}"))?;
    ensure!(stale.contains("src/a.rs has changed since you last read"), "bob was told {stale}");
    bob.does(&Deed::Read("src/a.rs")).await?;
    let done = bob.does(&over).await?;
    holds(&repository, "src/a.rs", "fn a() { bob(); ann(); }\n").with_context(|| format!("bob was told {done}"))?;
    bob.end().await?;

    let again = second.start().await?;
    let told = second.model.conversation();
    ensure!(told.contains(SUMMARY), "the brief does not tell of ann's handoff: {told}");
    again.end().await?;
    Ok(Outcome::Passed(format!("kept apart; the file was free {:.1} s after the kill", freed.as_secs_f32())))
}

/// Two files, a secret that is not committed, and sessions that end soon.
async fn scratch_repository(place: &Path) -> anyhow::Result<PathBuf> {
    let repository = place.join("shop");
    for (path, text) in [
        ("src/a.rs", "fn a() {}\n"),
        ("src/b.rs", "fn b() {}\n"),
        (".gitignore", ".env\n"),
        (".env", &format!("PASSWORD={SECRET}\n")),
        ("coordinator.toml", &format!("session_ttl_seconds = {SESSION_SECONDS}\n")),
    ] {
        write(&repository.join(path), text)?;
    }
    let name = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    for arguments in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "Begin"]] {
        success(Command::new("git").args(name).args(arguments).current_dir(&repository)).await?;
    }
    Ok(repository.canonicalize()?)
}

fn holds(repository: &Path, path: &str, expected: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(repository.join(path))?;
    ensure!(text == expected, "{path} is {text:?}, and not {expected:?}");
    Ok(())
}

/// What an agent does.
enum Deed<'a> {
    Read(&'a str),
    /// In this file, this becomes that.
    Edit(&'a str, &'a str, &'a str),
    Run(&'a str),
    /// A tool of ours.
    Call(&'a str, Value),
}

/// A command line with a home, ready to be started.
struct Agent {
    cli: Cli,
    program: PathBuf,
    node: PathBuf,
    home: PathBuf,
    repository: PathBuf,
    model: Model,
    environment: Environment,
}

impl Agent {
    async fn hire(place: &Path, repository: &Path, node: &Path, name: &str) -> anyhow::Result<Self> {
        let cli = CLIS.into_iter().find(|cli| cli.name == name).with_context(|| format!("there is no {name}"))?;
        let program = tools::need_node_package(cli.package, cli.version)?.join(name);
        let home = place.join(name);
        std::fs::create_dir_all(&home)?;
        let model = Model::start(vec![]).await?;
        let environment = (cli.prepare)(&home, &model.url)?;
        let (node, repository) = (node.to_owned(), repository.to_owned());
        let agent = Self { cli, program, node, home, repository, model, environment };
        (cli.trust)(&agent.home, &agent.repository)?;
        if name == "codex" {
            agent.let_codex_patch().await?;
        }
        Ok(agent)
    }

    /// A program in the repository, with the agent's home, and its command line on the path.
    fn command(&self, program: &Path) -> Command {
        let mut command = node_program(program, &self.node);
        let mut paths: Vec<PathBuf> = self.program.parent().map(Path::to_owned).into_iter().collect();
        let path = command.as_std().get_envs().find_map(|(name, value)| (name == "PATH").then_some(value?.to_owned()));
        paths.extend(path.iter().flat_map(std::env::split_paths));
        command.env_clear().env("HOME", &self.home).current_dir(&self.repository).kill_on_drop(true);
        command.envs(std::env::join_paths(paths).map(|path| ("PATH", path)));
        command
    }

    /// Starts it, and returns when it asks its model what to do.
    async fn start(&self) -> anyhow::Result<AtWork<'_>> {
        self.model.forget();
        let mut command = self.command(&self.program);
        command.args(self.cli.work).envs(self.environment.clone()).process_group(0);
        command.stdin(std::process::Stdio::null());
        let log = std::fs::File::create(self.home.join("said.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let at_work = AtWork { agent: self, child: command.spawn()? };
        self.model.asked().await.with_context(|| at_work.said())?;
        Ok(at_work)
    }

    /// Codex offers its tool for edits only to models that it knows, and hides ours from the newest of those. So it is made
    /// to know the script, as one of them that does as it is told.
    async fn let_codex_patch(&self) -> anyhow::Result<()> {
        let mut known = self.command(&self.program);
        let known = success(known.args(["debug", "models"]).envs(self.environment.clone())).await?;
        let known: Value = serde_json::from_str(&known).context("codex debug models")?;
        let fits = |model: &&Value| model["apply_patch_tool_type"] == "freeform" && model["use_responses_lite"] != true;
        let mut model =
            known["models"].as_array().into_iter().flatten().find(fits).context("no model patches")?.clone();
        model["slug"] = "script".into();
        model["supports_search_tool"] = false.into();
        model["upgrade"] = Value::Null;
        let catalog = self.home.join("models.json");
        write(&catalog, &json!({"models": [model]}).to_string())?;
        let settings = self.home.join(".codex/config.toml");
        let rest = std::fs::read_to_string(&settings)?;
        write(&settings, &format!("model_catalog_json = {:?}\n{rest}", catalog.display().to_string()))
    }
}

/// A command line that is running.
struct AtWork<'a> {
    agent: &'a Agent,
    child: Child,
}

impl AtWork<'_> {
    /// Has it do something, and returns what its model is told of it.
    async fn does(&self, deed: &Deed<'_>) -> anyhow::Result<String> {
        let step = self.step(deed)?;
        let result = self.agent.model.take(step).await.with_context(|| self.said())?;
        Ok(all_text(&result))
    }

    /// The deed in the words of its tools.
    fn step(&self, deed: &Deed<'_>) -> anyhow::Result<Step> {
        let whole = |path: &str| self.agent.repository.join(path);
        Ok(match (self.agent.cli.name, deed) {
            (_, Deed::Call(tool, arguments)) => Step::tool(tool, arguments.clone()),
            ("claude", Deed::Read(path)) => Step::tool("Read", json!({"file_path": whole(path)})),
            ("claude", Deed::Edit(path, from, to)) => {
                Step::tool("Edit", json!({"file_path": whole(path), "old_string": from, "new_string": to}))
            }
            ("claude", Deed::Run(command)) => Step::tool("Bash", json!({"command": command, "description": "go on"})),
            ("codex", Deed::Read(path)) => Step::tool("exec_command", json!({"cmd": format!("cat {path}")})),
            ("codex", Deed::Edit(path, from, to)) => {
                let text = std::fs::read_to_string(whole(path))?;
                let line = text.lines().find(|line| line.contains(from)).unwrap_or(from);
                let new = line.replacen(from, to, 1);
                let patch = format!("*** Begin Patch\n*** Update File: {path}\n@@\n-{line}\n+{new}\n*** End Patch");
                Step::Write("apply_patch".into(), patch)
            }
            ("codex", Deed::Run(command)) => Step::tool("exec_command", json!({"cmd": command})),
            ("gemini", Deed::Read(path)) => Step::tool("read_file", json!({"file_path": path})),
            ("gemini", Deed::Edit(path, from, to)) => {
                let change = json!({"file_path": path, "old_string": from, "new_string": to, "instruction": "go on"});
                Step::tool("replace", change)
            }
            ("gemini", Deed::Run(command)) => {
                Step::tool("run_shell_command", json!({"command": command, "description": "go on"}))
            }
            (name, _) => bail!("nobody knows the tools of {name}"),
        })
    }

    /// `kill -9` for it and all that it started.
    fn kill(mut self) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("it has ended already")?;
        kill_process_group(id, Signal::KILL)?;
        self.child.start_kill().or(Ok(()))
    }

    /// Tells it that all is done, and waits until it has ended.
    async fn end(mut self) -> anyhow::Result<()> {
        self.agent.model.end();
        let status = timeout(END_LIMIT, self.child.wait()).await.with_context(|| self.said())??;
        ensure!(status.success(), "{status}: {}", self.said());
        Ok(())
    }

    /// What it printed, for whoever looks for what went wrong.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.agent.home.join("said.log")).unwrap_or_default();
        format!("{} printed:\n{said}", self.agent.cli.name)
    }
}

/// All texts in what a tool answered, however deep a command line has wrapped them.
fn all_text(result: &Value) -> String {
    match result {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(all_text).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields.values().map(all_text).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
