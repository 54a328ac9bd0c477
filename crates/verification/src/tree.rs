//! The processes below this one, and what they use. Read from `/proc`.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};

/// All that were started below this process, and live or are not yet waited for.
#[derive(Debug, Default)]
pub struct Below {
    processes: Vec<Pid>,
    /// Pages in memory.
    pages: u64,
}

impl Below {
    /// As it is now.
    pub fn now() -> Self {
        let mut children: BTreeMap<i32, Vec<(Pid, u64)>> = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = pid else { continue };
            // Where it is gone already there is nothing to read.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((parent, pages)) = parent_and_pages(&stat) else { continue };
            children.entry(parent).or_default().push((pid, pages));
        }
        let mut below = Self::default();
        let mut parents = vec![rustix::process::getpid().as_raw_nonzero().get()];
        while let Some(parent) = parents.pop() {
            for (pid, pages) in children.remove(&parent).into_iter().flatten() {
                below.processes.push(pid);
                below.pages += pages;
                parents.push(pid.as_raw_nonzero().get());
            }
        }
        below
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// What they hold in memory. What several share counts for each.
    pub fn bytes(&self) -> u64 {
        self.pages.saturating_mul(rustix::param::page_size() as u64)
    }

    /// Sends all of them a signal.
    pub fn signal(&self, signal: Signal) {
        for pid in &self.processes {
            // Who is gone needs none.
            let _ = kill_process(*pid, signal);
        }
    }
}

/// `PID (NAME) STATE PARENT ...`, where the name may hold anything; the 24th field are the pages.
fn parent_and_pages(stat: &str) -> Option<(i32, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let pages = fields.nth(19)?.parse().unwrap_or_default();
    Some((parent, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_fields_are_no_fields() {
        let stat = "7 (a) b) 1 2) S 42 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99 1000000 321 18446744073709551615 1";
        assert_eq!(parent_and_pages(stat), Some((42, 321)));
        assert_eq!(parent_and_pages("7 (a"), None);
    }
}
