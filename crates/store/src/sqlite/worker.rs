//! A thread that owns a connection and runs jobs on it, one after another.

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::StoreError;

/// What to do with the connection, or with the reason why there is none.
type Job<C> = Box<dyn FnOnce(Result<&mut C, StoreError>) + Send>;

/// The handle; the thread ends when it is dropped.
pub struct Worker<C> {
    jobs: mpsc::Sender<Job<C>>,
}

impl<C: 'static> Worker<C> {
    /// Starts the thread. `connect` runs on it before the first job, and before each job until it has succeeded.
    pub fn start(name: &str, mut connect: impl FnMut() -> Result<C, StoreError> + Send + 'static) -> Self {
        let (jobs, inbox) = mpsc::channel::<Job<C>>();
        let run = move || {
            // Connecting waits for the first job: a process that never reads opens no second connection.
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
                let _ = answer.send(connection.and_then(work));
            }
        });
        let gone = || StoreError::Unreachable("the database's thread has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_fails_is_tried_again_and_says_why() {
        let mut tries = 0;
        let worker = Worker::start("test", move || {
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
