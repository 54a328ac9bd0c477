//! Carries out the train's orders.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use git::refs::Moved;
use git::{Git, ObjectId};
use merging::{Built, Candidate, Commit, EntryId, Evidence, Fate, Order, Rules, RunId, Train, Verdict};
use verification::inline::Stop;

use crate::build::Builder;
use crate::notes;
use crate::{Entry, Queue, QueueError, Target, Verify, verify};

/// How often the queue and the target are looked at while something is tested.
const LOOK: Duration = Duration::from_secs(2);

/// How an entry becomes part of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// By a merge commit.
    Merge,
    /// As one commit.
    Squash,
}

/// What was just done. A test may kill the process there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Cars were built.
    Built,
    /// A run ended.
    Tested,
    /// What is about to be landed was noted.
    Noted,
    /// The target was moved.
    Moved,
    /// The queue knows of an entry that was landed.
    Recorded,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A run began.
    Testing {
        /// Which.
        run: RunId,
        /// Of what.
        commit: Commit,
        /// What is in it.
        entries: Vec<EntryId>,
    },
    /// It ended.
    Tested {
        /// Which.
        run: RunId,
        /// How.
        verdict: Verdict,
    },
    /// An entry is on the target.
    Landed {
        /// Which.
        entry: EntryId,
        /// The commit that was verified.
        commit: Commit,
    },
    /// An entry was taken out.
    Ejected {
        /// Which.
        entry: EntryId,
        /// Can it come back?
        fate: Fate,
        /// Why.
        why: String,
    },
    /// Somebody else moved the target.
    TargetMoved {
        /// Where to.
        to: Commit,
    },
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Git does not work.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The queue does not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no target.
    #[error("there is no branch {0} to land on")]
    NoTarget(String),
    /// It would leave a checkout behind.
    #[error(
        "{branch} is checked out in {}: its files would stay behind. Run `git switch --detach` there, or land on a remote",
        directory.display()
    )]
    CheckedOut {
        /// The target.
        branch: String,
        /// Where.
        directory: std::path::PathBuf,
    },
    /// Another process does it.
    #[error("another `coordinator merge run` lands in this repository")]
    Busy,
    /// Whoever keeps the target does not want it.
    #[error("{target} was not moved: {why}")]
    Refused {
        /// The target.
        target: String,
        /// What was said.
        why: String,
    },
    /// An object that must be there is not.
    #[error("{0} is not in the repository")]
    Gone(String),
    /// The operating system refused something.
    #[error("could not lock the repository for landing: {0}")]
    Lock(#[from] std::io::Error),
}

/// Lands what the queue holds.
pub struct Runner<'a> {
    /// The repository.
    pub git: Git,
    /// What is moved.
    pub target: Target,
    /// See [`Style`].
    pub style: Style,
    /// See [`Rules`].
    pub rules: Rules,
    /// What must pass.
    pub verifier: Arc<dyn Verify>,
    /// Told after every step.
    pub after: &'a dyn Fn(Step),
    /// Told what happens.
    pub tell: &'a mut dyn FnMut(Event),
}

/// A run that is under way.
struct Running {
    stop: Stop,
    thread: JoinHandle<()>,
}

type Done = (RunId, Result<Verdict, Error>);
/// What the queue held when it was last looked at.
type Known = BTreeMap<EntryId, (Entry, Candidate)>;

impl Runner<'_> {
    /// Lands until nothing is left that can be landed.
    ///
    /// # Errors
    /// [`Error`]. Whatever was landed stays so, and the next call goes on from there.
    pub fn run(&mut self, queue: &mut dyn Queue) -> Result<(), Error> {
        let lock = File::create(self.git.common_dir().join("coordinator-landing.lock"))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::Busy,
            std::fs::TryLockError::Error(error) => Error::Lock(error),
        })?;
        self.git.remove_left_worktrees()?;
        if let Some(directory) = self.target.checkout(&self.git)? {
            return Err(Error::CheckedOut { branch: self.target.to_string(), directory });
        }
        let mut running = BTreeMap::new();
        let mut stopped = vec![];
        let ended = self.land_all(queue, &mut running, &mut stopped);
        stopped.extend(running.into_values());
        for run in &stopped {
            run.stop.stop();
        }
        for run in stopped {
            // One that panicked has nothing more to say.
            let _ = run.thread.join();
        }
        // A process before us may have left one half made when we began.
        self.git.remove_left_worktrees()?;
        ended
    }

    fn land_all(
        &mut self,
        queue: &mut dyn Queue,
        running: &mut BTreeMap<RunId, Running>,
        stopped: &mut Vec<Running>,
    ) -> Result<(), Error> {
        let (sender, done) = mpsc::channel();
        let mut train = Train::new(self.rules, commit(&self.position()?));
        let mut known = self.look(queue, &mut train)?;
        loop {
            let orders = train.orders();
            if orders.is_empty() {
                if running.is_empty() {
                    return Ok(());
                }
                self.wait(&done, &mut train, running)?;
                known = self.look(queue, &mut train)?;
            }
            for order in orders {
                match order {
                    Order::Build { base, cars, probes } => {
                        let titles = known.iter().map(|(id, (entry, _))| (id.clone(), entry.title.clone())).collect();
                        let builder = Builder { git: &self.git, style: self.style, titles: &titles };
                        let (mut built, mut conflicts) = builder.row(&base, &cars)?;
                        for probe in &probes {
                            let (probe, conflict) = builder.row(&base, std::slice::from_ref(probe))?;
                            built.extend(probe);
                            conflicts.extend(conflict);
                        }
                        (self.after)(Step::Built);
                        train.built(built, conflicts);
                    }
                    Order::Test { run, built, entries } => {
                        let head =
                            |id: &EntryId| known.get(id).map(|(_, entry)| Ok((id.clone(), object(&entry.head)?)));
                        let candidate = verify::Candidate {
                            base: object(train.target())?,
                            commit: object(&built.commit)?,
                            entries: entries.iter().filter_map(head).collect::<Result<_, Error>>()?,
                        };
                        let started = self.test(run, candidate, sender.clone());
                        running.insert(run, started);
                        (self.tell)(Event::Testing { run, commit: built.commit, entries });
                    }
                    Order::Stop { run } => {
                        if let Some(run) = running.remove(&run) {
                            run.stop.stop();
                            stopped.push(run);
                        }
                    }
                    Order::Land { from, built, entries, .. } => {
                        let before = std::mem::take(&mut known);
                        known = self.look(queue, &mut train)?;
                        let head = |known: &Known, id: &EntryId| known.get(id).map(|(_, c)| c.head.clone());
                        let is_same = |id: &EntryId| known.contains_key(id) && head(&before, id) == head(&known, id);
                        // Otherwise somebody pushed, or took it out: the train knows by now, and builds anew.
                        if *train.target() == from && entries.iter().all(is_same) {
                            self.land(queue, &mut train, &known, &built, &entries)?;
                        }
                    }
                    Order::Eject { entry, evidence, fate } => self.eject(queue, entry, fate, told(&evidence))?,
                    Order::Abandon { entry, ejections } => {
                        let why = format!("it was ejected {ejections} times, and is not tried again");
                        self.eject(queue, entry, Fate::Abandoned, why)?;
                    }
                }
            }
        }
    }

    /// Looks at the queue and the target. Of what a process before us landed, the queue is told.
    fn look(&mut self, queue: &mut dyn Queue, train: &mut Train) -> Result<Known, Error> {
        let target = self.position()?;
        let to = commit(&target);
        if to != *train.target() {
            (self.tell)(Event::TargetMoved { to: to.clone() });
            train.target_moved(to);
        }
        let (mut known, mut candidates) = (Known::new(), vec![]);
        for entry in queue.entries()? {
            let Some(head) = self.git.resolve(&format!("refs/heads/{}", entry.branch))? else {
                let why = format!("there is no branch {}: push it, and queue it again", entry.branch);
                self.eject(queue, entry.id, Fate::MayReturn, why)?;
                continue;
            };
            let candidate = Candidate {
                id: entry.id.clone(),
                head: commit(&head),
                claims: entry.claims.clone(),
                ejections: entry.ejections,
            };
            let noted = notes::noted(&self.git, &candidate)?;
            let landed = noted.iter().chain([&head]).map(|at| Ok((at, self.git.is_ancestor(at, &target)?)));
            let landed = landed.collect::<Result<Vec<_>, git::Error>>()?.into_iter().find(|(_, is_there)| *is_there);
            if let Some((at, _)) = landed {
                self.record(queue, &candidate, &commit(at))?;
                continue;
            }
            if noted.is_some() {
                notes::forget(&self.git, &candidate)?;
            }
            candidates.push(candidate.clone());
            known.insert(entry.id.clone(), (entry, candidate));
        }
        train.queue(candidates);
        Ok(known)
    }

    fn test(&self, run: RunId, candidate: verify::Candidate, done: Sender<Done>) -> Running {
        let stop = Stop::default();
        let (git, verifier, ours) = (self.git.clone(), Arc::clone(&self.verifier), stop.clone());
        let thread = thread::spawn(move || {
            let verdict = verifier.verify(&git, &candidate, &ours);
            // Nobody waits for it when all is over.
            let _ = done.send((run, verdict));
        });
        Running { stop, thread }
    }

    fn wait(
        &mut self,
        done: &Receiver<Done>,
        train: &mut Train,
        running: &mut BTreeMap<RunId, Running>,
    ) -> Result<(), Error> {
        let (run, verdict) = match done.recv_timeout(LOOK) {
            Ok(ended) => ended,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if running.remove(&run).is_some() {
            let verdict = verdict?;
            (self.after)(Step::Tested);
            (self.tell)(Event::Tested { run, verdict: verdict.clone() });
            train.tested(run, verdict);
        }
        Ok(())
    }

    fn land(
        &mut self,
        queue: &mut dyn Queue,
        train: &mut Train,
        known: &Known,
        built: &Built,
        entries: &[EntryId],
    ) -> Result<(), Error> {
        if let Some(directory) = self.target.checkout(&self.git)? {
            return Err(Error::CheckedOut { branch: self.target.to_string(), directory });
        }
        let (from, to) = (object(train.target())?, object(&built.commit)?);
        let candidates: Vec<&Candidate> = entries.iter().filter_map(|id| Some(&known.get(id)?.1)).collect();
        for candidate in &candidates {
            notes::note(&self.git, candidate, &to)?;
        }
        (self.after)(Step::Noted);
        match self.target.advance(&self.git, &from, &to)? {
            Moved::Done => {}
            Moved::Elsewhere(now) => {
                let now = now.ok_or_else(|| Error::NoTarget(self.target.to_string()))?;
                (self.tell)(Event::TargetMoved { to: commit(&now) });
                train.target_moved(commit(&now));
                return Ok(());
            }
            Moved::Refused(why) => return Err(Error::Refused { target: self.target.to_string(), why }),
        }
        (self.after)(Step::Moved);
        train.landed(&built.commit);
        for candidate in candidates {
            self.record(queue, candidate, &built.commit)?;
        }
        Ok(())
    }

    fn record(&mut self, queue: &mut dyn Queue, candidate: &Candidate, at: &Commit) -> Result<(), Error> {
        queue.merged(&candidate.id, at.as_str())?;
        (self.after)(Step::Recorded);
        notes::forget(&self.git, candidate)?;
        (self.tell)(Event::Landed { entry: candidate.id.clone(), commit: at.clone() });
        Ok(())
    }

    fn eject(&mut self, queue: &mut dyn Queue, entry: EntryId, fate: Fate, why: String) -> Result<(), Error> {
        queue.ejected(&entry, fate, &why)?;
        (self.tell)(Event::Ejected { entry, fate, why });
        Ok(())
    }

    fn position(&self) -> Result<ObjectId, Error> {
        self.target.position(&self.git)?.ok_or_else(|| Error::NoTarget(self.target.to_string()))
    }
}

/// Evidence in words, for whoever has to mend it.
fn told(evidence: &Evidence) -> String {
    let base = evidence.base.as_str();
    let Some(built) = &evidence.built else {
        return format!("{} with {base}: rebase it, and queue it again", evidence.what);
    };
    let others = &evidence.entries[..evidence.entries.len().saturating_sub(1)];
    let upon: String = others.iter().map(|id| format!(" and {id}")).collect();
    format!("it failed upon {base}{upon}, as commit {} (tree {}): {}", built.commit, built.tree, evidence.what)
}

fn commit(id: &ObjectId) -> Commit {
    Commit::new(id.as_str())
}

/// The train passes on the ids that it was given.
pub(crate) fn object(commit: &Commit) -> Result<ObjectId, Error> {
    ObjectId::new(commit.as_str()).map_err(|_| Error::Gone(commit.to_string()))
}
