//! One event of an agent's client, from what it said to what it is answered.
//!
//! First what this machine alone can tell: what a command would destroy, which files are touched. Then the coordinator,
//! for as long as an agent should wait. Last, when a file is held, whether the agent knows what is in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coordinator::agent::caller_of;
use coordinator::local_sessions::{LocalSession, LocalSessions, Naming, agent_process};
use coordinator::radar::last_look;
use coordinator::settings::{BadSettings, Settings};
use coordinator::without_secrets;
use guardrails::{Decision, Guard, Request, Study, Touch, Trust, Way};
use model::id::{Caller, SessionId};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::clients::{Client, Reply};
use crate::deliver::excerpt;
use crate::desk::{Desk, Trouble, is_near};
use crate::errand::{COMPACTION, COMPACTION_AGAIN, Errand, Wish};
use crate::event::{Answer, Event, Likelihood, Moment, Tool, Verdict};
use crate::fingerprint;
use crate::log::{Line, Notes, SessionLog};
use crate::silence::Silence;
use crate::site::{Place, Site};

/// How long it may take to reach the coordinator: an agent waits for it.
const TO_REACH: Duration = Duration::from_millis(220);
/// How long a database on this machine may take for all. One that cannot be opened says so at once; one that is slow is busy,
/// and an edit that is let go unguarded costs more than the wait.
const NEAR: Duration = Duration::from_millis(2000);
/// How long one that was reached over a network may take to answer.
const FAR: Duration = Duration::from_millis(1500);
/// How long the beginning of a session may take: nothing waits for it but a prompt.
const BEGINNING: Duration = Duration::from_millis(2500);
/// The name under which it is remembered that the agent was told of the coordinator's absence.
const AWAY: &str = "away";
/// A coordinator that did not answer is left alone for so long, in milliseconds: an agent need not wait at every step.
const TRY_AGAIN: u64 = 5_000;
const TRIED: &str = "tried";
/// A session asks for a look at the branches at most so often, in milliseconds.
const LOOK_AGAIN: u64 = 2_000;
const LOOKED: &str = "radar";

/// What happens around an event.
pub struct Surroundings<'a> {
    /// The settings, for a directory.
    pub settings: &'a dyn Fn(&Path) -> Result<Settings, BadSettings>,
    /// The home directory of whoever runs the agent.
    pub home: Option<String>,
    /// Where the agent was started, as far as the client says: it may have gone elsewhere.
    pub project: Option<PathBuf>,
    /// Starts a look at the branches from this directory, and does not wait for it.
    pub look_at_branches: &'a dyn Fn(&Path),
}

/// Answers an event.
///
/// # Errors
/// A sentence, when what the client said is nothing that it would say.
pub fn answer(client: Client, event: &str, input: &[u8], around: &Surroundings<'_>) -> Result<Reply, String> {
    let said = client.read(event, input)?;
    let answer = match Hook::new(client, &said, around) {
        Some(hook) => hook.run(),
        None => outside(client, &said, around),
    };
    Ok(client.reply(event, &said.moment, answer))
}

/// Where there is no repository there is nothing to share: only the guard is left.
fn outside(client: Client, said: &Event, around: &Surroundings<'_>) -> Answer {
    match &said.moment {
        Moment::Before(Tool::Shell { command, directory }) => {
            let trust = Trust::of_profile(kind_of(client));
            judged(&study(command, &place_of(said, directory.as_deref()), around.home.as_deref(), trust))
        }
        _ => Answer::silent(),
    }
}

/// The profile of a client's agents, where no settings name another.
fn kind_of(client: Client) -> &'static str {
    match client {
        Client::Claude => "claude_code_cli",
        Client::Codex => "codex_cli",
        Client::Gemini => "gemini_cli",
    }
}

fn place_of(said: &Event, directory: Option<&str>) -> PathBuf {
    directory.map_or_else(|| said.cwd.clone(), |directory| said.cwd.join(directory))
}

/// What the guard sees in a command.
fn study(command: &str, directory: &Path, home: Option<&str>, trust: Option<Trust>) -> Option<Study> {
    let guard = Guard::builtin().ok()?;
    Some(guard.study(&Request { command, cwd: directory.to_str(), home, trust, ..Request::default() }))
}

/// What it says to it.
fn judged(study: &Option<Study>) -> Answer {
    let Some(verdict) = study.as_ref().map(|study| &study.verdict) else { return Answer::silent() };
    let Some(first) = verdict.violations.first() else { return Answer::silent() };
    let text = format!("{} {} [{}: {}]", first.reason, first.suggestion, first.rule, excerpt(&first.matched_text, 120));
    match verdict.decision {
        Decision::Block => Answer::deny(text),
        Decision::Ask => Answer { verdict: Verdict::Ask(text), context: None },
        _ => Answer::silent(),
    }
}

/// One event in one session.
struct Hook<'a> {
    client: Client,
    said: &'a Event,
    around: &'a Surroundings<'a>,
    settings: Result<Settings, BadSettings>,
    site: Site,
    sessions: LocalSessions,
    directory: PathBuf,
    now: u64,
}

impl<'a> Hook<'a> {
    /// Nothing outside of a repository.
    fn new(client: Client, said: &'a Event, around: &'a Surroundings<'a>) -> Option<Self> {
        let home = || around.project.as_deref().and_then(Site::around);
        let site = Site::around(&said.cwd).or_else(home)?;
        let sessions = LocalSessions::of(&site.repository);
        let directory = sessions.directory_of(client.agent(), &said.session_id);
        let settings = (around.settings)(&site.repository.worktree);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Some(Self { client, said, around, settings, site, sessions, directory, now })
    }

    fn run(self) -> Answer {
        if self.said.moment == Moment::Other {
            return Answer::silent();
        }
        let session = self.session();
        let mut log = SessionLog::open(&self.directory);
        let (mut answer, wish) = self.locally(&mut log, session.as_ref());
        if matches!(answer.verdict, Verdict::Deny(_)) {
            return answer;
        }
        if !self.needs_coordinator(&wish, &log.notes) {
            return answer;
        }
        match self.coordinate(session.as_ref(), &wish, &mut log) {
            Ok((said, mut lines)) => {
                if log.notes.is_told(AWAY) {
                    lines.push(Line::Untold { what: AWAY.into() });
                }
                log.add(lines);
                answer = match answer.verdict {
                    Verdict::Ask(_) if !said.is_objection() => answer.and_tell(said.context),
                    _ => said.and_tell(answer.context),
                };
            }
            Err(why) => answer = self.without_coordinator(answer, &why, &mut log, &wish),
        }
        if self.is_time_to_look(&log.notes) {
            log.add(vec![Line::Did { what: LOOKED.into(), at: self.now }]);
            (self.around.look_at_branches)(&self.site.repository.worktree);
        }
        if self.said.moment == Moment::End {
            self.sessions.end(self.client.agent(), &self.said.session_id);
            return Answer::silent();
        }
        if !matches!(answer.verdict, Verdict::Deny(_)) {
            answer = self.fresh(answer, &wish, &mut log);
        }
        answer
    }

    /// Is there something new that may not merge? Something was committed since the last look, or changed and the last look
    /// is a while ago. What is found is told as messages, at this agent's next steps and at others'. A team's server looks
    /// for itself.
    fn is_time_to_look(&self, notes: &Notes) -> bool {
        let Ok(settings) = &self.settings else { return false };
        let Some(every) = settings.radar_interval.filter(|_| settings.api_url.is_none()) else { return false };
        match &self.said.moment {
            Moment::Start => return true,
            Moment::After(Tool::Edit(_) | Tool::Shell { .. }) if notes.is_time(LOOKED, LOOK_AGAIN, self.now) => {}
            _ => return false,
        }
        let Some(last) = last_look(&self.site.repository) else { return true };
        // Git appends to it whenever something else is checked out: another commit, too.
        let heads = std::fs::metadata(self.site.repository.git_dir.join("logs/HEAD")).and_then(|file| file.modified());
        if heads.is_ok_and(|at| at > last) {
            return true;
        }
        let last_change = UNIX_EPOCH + Duration::from_millis(notes.changed.values().max().copied().unwrap_or_default());
        let is_old = last + every <= UNIX_EPOCH + Duration::from_millis(self.now);
        is_old && last_change > last
    }

    /// The session's record. Hooks that were set up in the middle of one begin it then.
    fn session(&self) -> Option<LocalSession> {
        let known = self.sessions.find(self.client.agent(), &self.said.session_id);
        let goes_on = self.said.moment != Moment::Start && known.as_ref().is_some_and(|known| self.is_here(known));
        if goes_on || self.said.moment == Moment::End {
            return known;
        }
        let settings = self.settings.as_ref().ok()?;
        let caller = caller_of(settings, self.client.agent()).ok()?;
        let session = LocalSession {
            agent_id: caller.agent_id,
            agent_type: caller.agent_type,
            session_id: caller.session_id.or_else(|| SessionId::new(self.said.session_id.clone()).ok())?,
            key: self.said.session_id.clone(),
            client: self.client.agent().to_owned(),
            worktree: self.site.repository.worktree.clone(),
            process: agent_process(),
            began_at: self.now,
        };
        let naming = if settings.agent_id.is_some() { Naming::Given } else { Naming::Derived };
        // Where it cannot be written down the agent goes by its usual name.
        self.sessions.begin(session.clone(), naming).ok().or(Some(session))
    }

    fn is_here(&self, known: &LocalSession) -> bool {
        known.worktree == self.site.repository.worktree
    }

    fn caller(&self, settings: &Settings, session: Option<&LocalSession>) -> Result<Caller, String> {
        if let Some(session) = session {
            return Ok(Caller {
                agent_id: settings.agent_id.clone().unwrap_or_else(|| session.agent_id.clone()),
                agent_type: session.agent_type.clone(),
                session_id: Some(session.session_id.clone()),
            });
        }
        let caller = caller_of(settings, self.client.agent()).map_err(|failure| failure.message())?;
        let session_id = caller.session_id.or_else(|| SessionId::new(self.said.session_id.clone()).ok());
        Ok(Caller { session_id, ..caller })
    }

    fn needs_coordinator(&self, wish: &Wish, notes: &Notes) -> bool {
        match &self.said.moment {
            Moment::Compaction(Likelihood::Possible) => notes.is_time(COMPACTION, COMPACTION_AGAIN, self.now),
            Moment::Before(_) => !wish.is_empty(),
            Moment::Other => false,
            _ => true,
        }
    }

    /// What can be told without the coordinator, and what is to be asked of it.
    fn locally(&self, log: &mut SessionLog, session: Option<&LocalSession>) -> (Answer, Wish) {
        let mut wish = Wish::default();
        let mut answer = Answer::silent();
        match &self.said.moment {
            Moment::Prompt(prompt) => log.add(vec![Line::Asked { text: excerpt(&without_secrets(prompt), 300) }]),
            Moment::Before(Tool::Edit(paths)) => {
                wish.change = self.places(&self.said.cwd, paths);
            }
            Moment::Before(Tool::Shell { command, directory }) => {
                let kind = session.map_or(kind_of(self.client), |session| &session.agent_type);
                let trust = log.notes.trusted.and_then(Trust::new).or_else(|| Trust::of_profile(kind));
                let directory = place_of(self.said, directory.as_deref());
                let seen = study(command, &directory, self.around.home.as_deref(), trust);
                answer = judged(&seen);
                if let Some(seen) = seen {
                    wish = Wish { reach: seen.reached, ..self.wish(&directory, &seen.touched) };
                }
            }
            Moment::Before(Tool::Fetch(address)) => wish.reach.push(address.clone()),
            Moment::Before(Tool::Read(paths)) | Moment::After(Tool::Read(paths)) => {
                let known = self.places(&self.said.cwd, paths).into_iter();
                log.add(known.map(|place| Line::Knows { f: fingerprint::take(&place.path), p: place.path }).collect());
            }
            Moment::After(Tool::Edit(paths)) => {
                let wrote = self.places(&self.said.cwd, paths).into_iter();
                log.add(wrote.map(|place| self.wrote(place.path)).collect());
            }
            Moment::After(Tool::Shell { command, directory }) => {
                let directory = place_of(self.said, directory.as_deref());
                let touched = study(command, &directory, self.around.home.as_deref(), None);
                let touched = touched.map(|seen| seen.touched).unwrap_or_default();
                let changed = self.wish(&directory, &touched).change.into_iter();
                // What a command goes on writing in the background is nothing that the agent must read again.
                let line = |place: Place| match log.notes.knows(&place.path) {
                    true => self.wrote(place.path),
                    false => Line::Changed { p: place.path, at: self.now },
                };
                let mut lines: Vec<Line> = changed.map(line).collect();
                let shown = touched.iter().filter(|touch| touch.way == Way::Read && !touch.is_pattern);
                let shown = shown.filter_map(|touch| self.site.place(&directory, &touch.path));
                lines.extend(
                    shown.filter_map(|place| {
                        Some(Line::Knows { f: Some(fingerprint::take(&place.path)?), p: place.path })
                    }),
                );
                log.add(lines);
            }
            _ => {}
        }
        (answer, wish)
    }

    fn wrote(&self, path: PathBuf) -> Line {
        Line::Wrote { f: fingerprint::take(&path), p: path, at: self.now }
    }

    fn places(&self, directory: &Path, paths: &[String]) -> Vec<Place> {
        let mut places: Vec<Place> = paths.iter().filter_map(|path| self.site.place(directory, path)).collect();
        places.sort();
        places.dedup();
        places
    }

    /// What a command changes, as far as it can be seen: a lock for each file, and care for what is more than a file.
    fn wish(&self, directory: &Path, touched: &[Touch]) -> Wish {
        let mut wish = Wish::default();
        for touch in touched.iter().filter(|touch| touch.way != Way::Read) {
            if touch.is_pattern {
                wish.spare.extend(self.site.pattern(directory, &touch.path));
                continue;
            }
            let Some(place) = self.site.place(directory, &touch.path) else { continue };
            let is_directory = place.path.is_dir();
            match touch.way {
                Way::Write | Way::Named if is_directory => {}
                Way::Named if !place.path.exists() => {}
                Way::Into if !place.path.parent().is_some_and(Path::is_dir) => {}
                Way::Tree | Way::Into if is_directory => wish.spare.push(place),
                _ => wish.change.push(place),
            }
        }
        for places in [&mut wish.change, &mut wish.spare] {
            places.sort();
            places.dedup();
        }
        wish
    }

    /// Does the agent know what is in the files that it is about to change?
    fn fresh(&self, answer: Answer, wish: &Wish, log: &mut SessionLog) -> Answer {
        let Moment::Before(_) = &self.said.moment else { return answer };
        let stale: Vec<&Place> = wish.change.iter().filter(|place| log.notes.is_stale(&place.path)).collect();
        if let Some(first) = stale.first() {
            if !first.path.exists() {
                // There is nothing to read, so to be told is to know.
                log.add(vec![Line::Knows { p: first.path.clone(), f: None }]);
                return Answer::deny(format!(
                    "{} was removed since you last read or wrote it, and not by you. Nothing was changed. See whether it \
                     is still needed (git log, or what others hold), then try again.",
                    first.key
                ));
            }
            return Answer::deny(format!(
                "{} has changed since you last read or wrote it, and not by your own edits. Nothing was changed. Read it \
                 again, then make your edit on what is there now.",
                first.key
            ));
        }
        let edits = wish.change.iter().map(|place| Line::Edits { p: place.path.clone(), at: self.now });
        log.add(edits.collect());
        answer
    }

    /// The coordinator does not answer: that is said once, and the agent goes on, unless the project is strict.
    fn without_coordinator(&self, answer: Answer, why: &str, log: &mut SessionLog, wish: &Wish) -> Answer {
        if self.said.moment == Moment::End {
            self.sessions.end(self.client.agent(), &self.said.session_id);
            return Answer::silent();
        }
        let is_strict = self.settings.as_ref().is_ok_and(|settings| settings.strict);
        if is_strict && !wish.is_empty() && matches!(self.said.moment, Moment::Before(_)) {
            return Answer::deny(format!(
                "The coordinator cannot be reached ({why}), and this project is strict: nothing is changed without it. \
                 `coordinator doctor` says what is wrong."
            ));
        }
        if log.notes.is_told(AWAY) {
            return answer;
        }
        // A client shows its agent nothing of some answers: it is told with the first that is shown.
        if matches!(self.said.moment, Moment::Start | Moment::Prompt(_) | Moment::After(_)) {
            log.add(vec![Line::Told { what: AWAY.into() }]);
            return answer.and_tell(Some(format!(
                "The coordinator cannot be reached ({}). You can go on, but nothing keeps you and other agents from \
                 changing the same files. `coordinator doctor` says what is wrong.",
                excerpt(why, 300)
            )));
        }
        answer
    }

    /// Asks the coordinator, unless it did not answer a moment ago.
    fn coordinate(
        &self,
        session: Option<&LocalSession>,
        wish: &Wish,
        log: &mut SessionLog,
    ) -> Result<(Answer, Vec<Line>), String> {
        let settings = self.settings.as_ref().map_err(ToString::to_string)?;
        let caller = self.caller(settings, session)?;
        if log.notes.is_told(AWAY) && !log.notes.is_time(TRIED, TRY_AGAIN, self.now) {
            return Err("it did not answer a moment ago".into());
        }
        let silence = Some(Silence::of(&self.site.repository, settings)).filter(|_| !is_near(settings));
        if let Some(since) = silence.as_ref().and_then(Silence::since) {
            return Err(format!("it did not answer {} s ago, and is left alone for half a minute", since.as_secs()));
        }
        let answer = self.ask(settings.clone(), caller, wish, log);
        if answer.is_err() {
            log.add(vec![Line::Did { what: TRIED.into(), at: self.now }]);
        }
        if let (Err(Away::Silent(_)), Some(silence)) = (&answer, silence) {
            silence.note();
        }
        answer.map_err(|(Away::Silent(why) | Away::Gone(why))| why)
    }

    /// Asks, and waits no longer than an agent should.
    fn ask(
        &self,
        settings: Settings,
        caller: Caller,
        wish: &Wish,
        log: &mut SessionLog,
    ) -> Result<(Answer, Vec<Line>), Away> {
        let notes = log.notes.clone();
        let is_near = is_near(&settings);
        let errand = Errand {
            moment: self.said.moment.clone(),
            wish: wish.clone(),
            repository: self.site.repository.clone(),
            sessions: self.sessions.clone(),
            directory: self.directory.clone(),
            settings,
            caller,
            now: self.now,
        };
        let all = match (&self.said.moment, is_near) {
            (Moment::Start, _) => BEGINNING,
            (_, true) => NEAR,
            (_, false) => FAR,
        };
        let to_reach = if is_near { all } else { TO_REACH.min(all) };
        let begun = Instant::now();
        let silent = |_| Away::Silent(format!("no answer within {} ms", begun.elapsed().as_millis()));
        let gone = |trouble: Trouble| Away::Gone(trouble.message().to_owned());
        // On this very thread: another one would begin with memory of its own, which takes longer than what it does.
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| Away::Gone(error.to_string()))?;
        let answer = runtime.block_on(async {
            let desk = timeout(to_reach, Desk::open(&errand.settings, errand.caller.clone()));
            let desk = desk.await.map_err(silent)?.map_err(gone)?;
            let mut learn = |line| log.add(vec![line]);
            let done = timeout(all.saturating_sub(begun.elapsed()), errand.run(&desk, &notes, &mut learn));
            done.await.map_err(silent)?.map_err(gone)
        });
        // What is still at it, such as the look-up of a name, is left behind.
        runtime.shutdown_background();
        answer
    }
}

/// Why there is no answer.
enum Away {
    /// It was waited for in vain.
    Silent(String),
    /// That was clear at once.
    Gone(String),
}
