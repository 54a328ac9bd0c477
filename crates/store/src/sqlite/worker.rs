//! A thread that owns a connection and runs jobs on it, one after another.

use std::sync::{LazyLock, mpsc};
use std::thread;

use tokio::sync::oneshot;

use crate::StoreError;

/// What to do with the connection, or with the reason why there is none.
type Job<C> = Box<dyn FnOnce(Result<&mut C, StoreError>) + Send>;

/// Starts the thread, which does what is sent here.
type Start<C> = Box<dyn FnOnce() -> mpsc::Sender<Job<C>> + Send>;

/// The handle; the thread begins with the first job, and ends when the handle is dropped.
pub struct Worker<C> {
    jobs: LazyLock<mpsc::Sender<Job<C>>, Start<C>>,
}

impl<C: 'static> Worker<C> {
    /// A thread of this name. `connect` runs on it before the first job, and before each job until it has succeeded.
    pub fn new(name: &'static str, connect: impl FnMut() -> Result<C, StoreError> + Send + 'static) -> Self {
        let start = move || {
            let (jobs, inbox) = mpsc::channel();
            if let Err(error) = thread::Builder::new().name(name.into()).spawn(|| work(connect, inbox)) {
                tracing::error!(%error, "cannot start a thread");
            }
            jobs
        };
        Self { jobs: LazyLock::new(Box::new(start)) }
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
                let _ = answer.send(connection.and_then(work));
            }
        });
        let gone = || StoreError::Unreachable("the database's thread has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }
}

fn work<C>(mut connect: impl FnMut() -> Result<C, StoreError>, inbox: mpsc::Receiver<Job<C>>) {
    let mut connection = None;
    for job in inbox {
        if connection.is_none() {
            match connect() {
                Ok(connected) => connection = Some(connected),
                Err(error) => {
                    tracing::error!(%error, "cannot open the database");
                    job(Err(error));
                    continue;
                }
            }
        }
        if let Some(connection) = &mut connection {
            job(Ok(connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_fails_is_tried_again_and_says_why() {
        let mut tries = 0;
        let worker = Worker::new("test", move || {
            tries += 1;
            if tries == 1 { Err(StoreError::Unreachable("too many open files".into())) } else { Ok(tries) }
        });
        let first = worker.run(|tries| Ok(*tries)).await;
        assert!(matches!(&first, Err(StoreError::Unreachable(why)) if why == "too many open files"), "{first:?}");
        for _ in 0..2 {
            assert_eq!(worker.run(|tries| Ok(*tries)).await.ok(), Some(2), "and a connection is kept");
        }
    }
}
