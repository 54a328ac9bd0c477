//! One round: cars that were built upon each other, and how their runs stand.

use super::Suspects;
use super::orders::Built;
use crate::{Candidate, Commit, EntryId, RunId};

/// A round.
#[derive(Debug)]
pub(super) struct Round {
    /// What the first car and the probes were built upon.
    pub(super) base: Commit,
    /// How many entries had been landed upon the same history then.
    pub(super) after: usize,
    /// Those that are not landed yet, the first one upon the target.
    pub(super) cars: Vec<Car>,
    /// Suspects, each built upon the base alone.
    pub(super) probes: Vec<Car>,
    pub(super) is_building: bool,
    pub(super) is_landing: bool,
}

/// Some entries, tested together with all cars ahead of them.
#[derive(Debug)]
pub(super) struct Car {
    pub(super) entries: Vec<Candidate>,
    /// If they are the first half of suspects.
    pub(super) suspects: Option<Suspects>,
    pub(super) built: Option<Built>,
    pub(super) state: CarState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CarState {
    Planned,
    Running(RunId),
    Passed(RunId),
    Failed(RunId, String),
}

impl Round {
    /// All entries in it, and those that are suspected along with them.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.cars
            .iter()
            .chain(&self.probes)
            .flat_map(|car| car.entries.iter().chain(car.suspects.iter().flat_map(|s| &s.rest)))
    }

    /// Takes an entry out of its car.
    pub(super) fn take(&mut self, entry: &EntryId) -> Option<Candidate> {
        self.cars.iter_mut().chain(&mut self.probes).find_map(|car| {
            let at = car.entries.iter().position(|candidate| candidate.id == *entry)?;
            Some(car.entries.remove(at))
        })
    }
}

impl Car {
    pub(super) fn new(entries: Vec<Candidate>, suspects: Option<Suspects>) -> Self {
        Self { entries, suspects, built: None, state: CarState::Planned }
    }

    pub(super) fn commit(&self) -> Option<&Commit> {
        self.built.as_ref().map(|built| &built.commit)
    }

    pub(super) fn running(&self) -> Option<RunId> {
        match self.state {
            CarState::Running(run) => Some(run),
            _ => None,
        }
    }
}
