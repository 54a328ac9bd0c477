//! The Merkle tree over the audit trail (RFC 6962): one hash for any number of rows, and short proofs that one is among
//! them. A leaf's data is its row's hash in the [chain](crate::chain).
//!
//! The tree is never kept. A [`Frontier`] is what a reader needs to remember of the leaves that it has passed: as many
//! hashes as their number has ones in binary.

use crate::chain::Digest256;

/// The hash of a leaf.
fn leaf(data: &Digest256) -> Digest256 {
    Digest256::of(&[&[0], data.as_bytes()])
}

/// The hash of a node with these children.
fn node(left: &Digest256, right: &Digest256) -> Digest256 {
    Digest256::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The complete subtrees that the leaves so far make, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest256>,
}

impl Frontier {
    /// As it was kept; `None` when a tree of this size has another number of subtrees.
    pub fn resume(size: u64, peaks: Vec<Digest256>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtrees, to be kept.
    pub fn peaks(&self) -> &[Digest256] {
        &self.peaks
    }

    /// Adds a leaf.
    pub fn push(&mut self, data: &Digest256) {
        self.push_watching(leaf(data), |_, _| ());
    }

    /// Tells of each pair of subtrees that is joined: which leaves the left one has, as far as the end of it, and where it
    /// stands among the peaks.
    fn push_watching(&mut self, mut hash: Digest256, mut joined: impl FnMut(&Digest256, &Digest256)) {
        let mut before = self.size;
        while before & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            joined(&left, &hash);
            hash = node(&left, &hash);
            before >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest256 {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Digest256::of(&[]) };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// Makes the proof that a leaf is in the tree, while the leaves pass.
#[derive(Debug, Clone)]
pub struct Prover {
    frontier: Frontier,
    /// The subtree that the leaf is in, once the leaf has passed.
    around: Option<Digest256>,
    path: Vec<Digest256>,
}

impl Prover {
    /// Of the leaf that comes next.
    pub fn of_next(frontier: Frontier) -> Self {
        Self { frontier, around: None, path: vec![] }
    }

    /// Adds a leaf: first the one whose proof it is.
    pub fn push(&mut self, data: &Digest256) {
        let hash = leaf(data);
        let mut around = self.around.unwrap_or(hash);
        let path = &mut self.path;
        self.frontier.push_watching(hash, |left, right| {
            if *right == around {
                path.push(*left);
                around = node(left, right);
            } else if *left == around {
                path.push(*right);
                around = node(left, right);
            }
        });
        self.around = Some(around);
    }

    /// The proof in the tree as it is now: its hashes from the leaf upwards.
    pub fn path(&self) -> Vec<Digest256> {
        let (mut path, mut around) = (self.path.clone(), self.around);
        let mut peaks = self.frontier.peaks.iter().rev();
        let Some(mut right) = peaks.next().copied() else { return path };
        for left in peaks {
            if around == Some(right) {
                path.push(*left);
                around = Some(node(left, &right));
            } else if around == Some(*left) {
                path.push(right);
                around = Some(node(left, &right));
            }
            right = node(left, &right);
        }
        path
    }
}

/// The root of the tree of `size` leaves whose leaf number `index`, from 0, is this one, if the path is right; `None` for a
/// path that is too short or too long.
pub fn root_from_path(index: u64, size: u64, data: &Digest256, path: &[Digest256]) -> Option<Digest256> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf(data);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(number: u64) -> Digest256 {
        Digest256::of(&[&number.to_be_bytes()])
    }

    /// As RFC 6962 says it.
    fn tree(leaves: &[Digest256]) -> Digest256 {
        match leaves {
            [] => Digest256::of(&[]),
            [one] => leaf(one),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&tree(left), &tree(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962() {
        let mut frontier = Frontier::default();
        for size in 0..70 {
            let leaves: Vec<Digest256> = (0..size).map(data).collect();
            assert_eq!(frontier.root(), tree(&leaves), "{size}");
            let resumed = Frontier::resume(size, frontier.peaks().to_vec()).unwrap();
            assert_eq!(resumed, frontier);
            frontier.push(&data(size));
        }
        assert_eq!(Frontier::resume(3, vec![data(0)]), None);
    }

    #[test]
    fn every_leaf_is_proved_in_every_tree_and_no_other_is() {
        for size in 1..40_u64 {
            let root = tree(&(0..size).map(data).collect::<Vec<_>>());
            for index in 0..size {
                let mut frontier = Frontier::default();
                (0..index).for_each(|number| frontier.push(&data(number)));
                let mut prover = Prover::of_next(frontier);
                (index..size).for_each(|number| prover.push(&data(number)));
                let path = prover.path();
                assert!(path.len() <= 6, "{} hashes", path.len());
                assert_eq!(root_from_path(index, size, &data(index), &path), Some(root), "{index} of {size}");
                assert_ne!(root_from_path(index, size, &data(99), &path), Some(root));
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(root_from_path(other, size, &data(index), &path), Some(root), "{other} for {index}");
                }
                assert_eq!(root_from_path(size, size, &data(index), &path), None);
                assert_eq!(root_from_path(index, size, &data(index), &[path.as_slice(), &[root]].concat()), None);
            }
        }
    }
}
