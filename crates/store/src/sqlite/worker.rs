//! A thread that owns a connection and runs jobs on it, one after another.

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::StoreError;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// The handle; the thread ends when it is dropped.
pub struct Worker<C> {
    jobs: mpsc::Sender<Job<C>>,
}

impl<C: 'static> Worker<C> {
    /// Starts the thread. `connect` runs on it before the first job.
    pub fn start(name: &str, connect: impl FnOnce() -> Result<C, StoreError> + Send + 'static) -> Self {
        let (jobs, inbox) = mpsc::channel::<Job<C>>();
        let run = move || {
            // Connecting waits for the first job: a process that never reads opens no second connection.
            let Ok(first) = inbox.recv() else { return };
            // A failed connection drops this job and, with the inbox, all later ones: their callers see it.
            let mut connection = match connect() {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(%error, "cannot open the database");
                    return;
                }
            };
            first(&mut connection);
            for job in inbox {
                job(&mut connection);
            }
        };
        if let Err(error) = thread::Builder::new().name(name.into()).spawn(run) {
            tracing::error!(%error, "cannot start a thread");
        }
        Self { jobs }
    }

    /// Runs `work` on the thread. If the caller has stopped waiting before its turn comes, it is not begun.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut C) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let job: Job<C> = Box::new(move |connection| {
            if !answer.is_closed() {
                // Nobody listening any more is no reason not to have done it.
                let _ = answer.send(work(connection));
            }
        });
        let gone = || StoreError::Unreachable("the database's thread has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }
}
