//! Which entries ride together. Entries that may change the same are in one lane, so that of two lanes either can be landed
//! without the other; a car never holds entries of two lanes unless there are more lanes than cars.

use crate::Candidate;

/// Parts candidates into at most `lanes` lanes, each in the order of the queue. Lanes do not overlap.
pub fn lanes(candidates: &[Candidate], lanes: usize) -> Vec<Vec<Candidate>> {
    let mut groups: Vec<Vec<usize>> = vec![];
    for (at, candidate) in candidates.iter().enumerate() {
        let meets = |group: &Vec<usize>| group.iter().any(|&other| candidates[other].overlaps(candidate));
        let (met, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(meets);
        groups = apart;
        let mut group: Vec<usize> = met.into_iter().flatten().collect();
        group.push(at);
        group.sort_unstable();
        groups.push(group);
    }
    // Whoever is first in the queue decides which lane is first.
    groups.sort_unstable();
    let mut parted: Vec<Vec<usize>> = vec![];
    for group in groups {
        let count = parted.len();
        match parted.iter_mut().min_by_key(|lane| lane.len()) {
            Some(shortest) if count >= lanes => shortest.extend(group),
            _ => parted.push(group),
        }
    }
    for lane in &mut parted {
        lane.sort_unstable();
    }
    parted.sort_unstable();
    parted.into_iter().map(|lane| lane.into_iter().map(|at| candidates[at].clone()).collect()).collect()
}

/// The cars of a round, at most `slots`, each at most `batch` entries of one lane: first one of each lane, then what
/// remains of the lanes. With room for one car only, it takes entries as they come.
pub fn cars(candidates: &[Candidate], slots: usize, batch: usize) -> Vec<Vec<Candidate>> {
    let window = &candidates[..candidates.len().min(slots.saturating_mul(batch))];
    let lanes = lanes(window, slots);
    let longest = lanes.iter().map(Vec::len).max().unwrap_or_default();
    let turns = longest.div_ceil(batch.max(1));
    let nth = |turn: usize| lanes.iter().filter_map(move |lane| lane.chunks(batch.max(1)).nth(turn));
    (0..turns).flat_map(nth).take(slots).map(<[Candidate]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use model::key::LockKey;

    use super::*;
    use crate::{Commit, EntryId};

    fn candidate(id: &str, claims: &[&str]) -> Candidate {
        let claims = claims.iter().map(|claim| LockKey::parse(claim).unwrap()).collect();
        Candidate { id: EntryId::new(id), head: Commit::new(id), claims, ejections: 0 }
    }

    fn ids(cars: &[Vec<Candidate>]) -> Vec<String> {
        cars.iter().map(|car| car.iter().map(|c| c.id.as_str()).collect::<Vec<_>>().join("")).collect()
    }

    #[test]
    fn what_overlaps_by_way_of_others_is_in_one_lane() {
        let queue = [
            candidate("a", &["src/x"]),
            candidate("b", &["docs"]),
            candidate("c", &["lib"]),
            candidate("d", &["docs/a.md", "src/**/*.rs"]),
        ];
        assert_eq!(ids(&lanes(&queue, 4)), ["abd", "c"]);
        assert_eq!(ids(&lanes(&queue, 1)), ["abcd"]);
    }

    #[test]
    fn what_claims_nothing_may_change_anything() {
        let queue = [candidate("a", &["src"]), candidate("b", &["docs"]), candidate("c", &[])];
        assert_eq!(ids(&lanes(&queue, 3)), ["abc"]);
    }

    #[test]
    fn slots_that_lanes_leave_are_filled_in_the_order_of_the_queue() {
        let mut queue: Vec<_> = ["a", "b", "c", "d", "e"].map(|id| candidate(id, &["src"])).into();
        queue.insert(2, candidate("x", &["docs"]));
        assert_eq!(ids(&cars(&queue, 3, 2)), ["ab", "x", "cd"]);
        assert_eq!(ids(&cars(&queue, 1, 4)), ["abxc"]);
        assert_eq!(ids(&cars(&[], 3, 2)), Vec::<String>::new());
    }
}
