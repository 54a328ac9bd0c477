//! How long the disk keeps a write waiting, while something else is measured.
//!
//! Every acknowledged write waits for the disk, so no answer comes sooner than the disk allows. On a machine that others
//! use too, a stall can be longer than a lease; whoever judges a delay should know of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use super::clock;

/// How often a block is written.
const EVERY: Duration = Duration::from_millis(50);

/// Writes a block now and then, until it is dropped.
pub struct Disk {
    stalls: Arc<Mutex<Vec<Stall>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct Stall {
    began: u64,
    ended: u64,
}

impl Disk {
    /// Watches the disk that this directory is on.
    pub fn watch(directory: &Path) -> anyhow::Result<Self> {
        let file = File::create(directory.join("disk-probe"))?;
        let (stalls, stop) = (Arc::<Mutex<Vec<Stall>>>::default(), Arc::new(AtomicBool::new(false)));
        let (noted, stopped) = (stalls.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let began = clock::monotonic();
                if file.write_all_at(&[1; 4096], 0).and_then(|()| file.sync_data()).is_err() {
                    return;
                }
                let stall = Stall { began, ended: clock::monotonic() };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(stall);
                sleep(EVERY);
            }
        });
        Ok(Self { stalls, stop, thread: Some(thread) })
    }

    /// The longest time that a write took of those under way between these two instants.
    pub fn longest_stall(&self, from: u64, until: u64) -> Duration {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let met = stalls.iter().filter(|stall| stall.began <= until && stall.ended >= from);
        Duration::from_nanos(met.map(|stall| stall.ended - stall.began).max().unwrap_or(0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}
