//! Group commit: many callers, one transaction.
//!
//! The commands that arrive while a project's last commit is under way are applied together as the next batch. There is
//! no timer: alone, a command costs one commit; under load, a share of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::command::{Command, Outcome};
use model::id::Project;
use tokio::sync::{mpsc, oneshot};

use crate::{Store, StoreError};

/// The most commands in one transaction.
const BATCH_LIMIT: usize = 128;
/// The most commands of a project that may wait; beyond it callers are told to come back.
const QUEUE_LIMIT: usize = 8192;

struct Call {
    command: Command,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// Applies single commands in shared transactions, in order of arrival for each project.
pub struct GroupCommit {
    store: Arc<dyn Store>,
    queues: Mutex<HashMap<Project, mpsc::Sender<Call>>>,
}

impl GroupCommit {
    /// In front of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, queues: Mutex::default() }
    }

    /// Applies the command. It is carried out also when the caller stops waiting.
    pub async fn apply(&self, project: &Project, command: Command) -> Result<Outcome, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let queue = self.queue(project);
        queue.try_send(Call { command, answer }).map_err(|_| overloaded())?;
        waiting.await.map_err(|_| StoreError::Failed("the committing task ended".into()))?
    }

    fn queue(&self, project: &Project) -> mpsc::Sender<Call> {
        // The map is whole whatever happened to a thread that held it.
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(project).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (queue, calls) = mpsc::channel(QUEUE_LIMIT);
        tokio::spawn(commit(self.store.clone(), project.clone(), calls));
        queues.insert(project.clone(), queue.clone());
        queue
    }
}

fn overloaded() -> StoreError {
    StoreError::Unreachable(format!("more than {QUEUE_LIMIT} operations wait for it already"))
}

async fn commit(store: Arc<dyn Store>, project: Project, mut calls: mpsc::Receiver<Call>) {
    let mut batch = Vec::new();
    while calls.recv_many(&mut batch, BATCH_LIMIT).await > 0 {
        // Whoever is about to send runs first: those who arrived together share a commit, and one alone loses nothing.
        tokio::task::yield_now().await;
        while batch.len() < BATCH_LIMIT
            && let Ok(call) = calls.try_recv()
        {
            batch.push(call);
        }
        let (commands, answers): (Vec<Command>, Vec<_>) = batch.drain(..).map(|c| (c.command, c.answer)).unzip();
        let results = match store.apply(&project, &commands).await {
            Ok(outcomes) if outcomes.len() == commands.len() => outcomes.into_iter().map(Ok).collect(),
            Ok(_) => vec![Err(StoreError::Failed("not one outcome for each command".into())); commands.len()],
            // A command the engine chokes on must not take its neighbours down with it.
            Err(StoreError::Failed(_)) if commands.len() > 1 => one_by_one(&*store, &project, &commands).await,
            Err(error) => vec![Err(error); commands.len()],
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that left has its command applied all the same.
            let _ = answer.send(result);
        }
    }
}

async fn one_by_one(store: &dyn Store, project: &Project, commands: &[Command]) -> Vec<Result<Outcome, StoreError>> {
    let mut results = Vec::with_capacity(commands.len());
    for command in commands {
        let outcome = store.apply(project, std::slice::from_ref(command)).await;
        results.push(outcome.and_then(|outcomes| {
            outcomes.into_iter().next().ok_or_else(|| StoreError::Failed("no outcome for a command".into()))
        }));
    }
    results
}
