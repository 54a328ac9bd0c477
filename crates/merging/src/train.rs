//! The train: which order comes next, and what its outcome means.

mod orders;
mod round;

pub use orders::{Built, Conflict, ConflictsWith, Evidence, Fate, Order, Verdict};
use round::{Car, CarState, Round};

use crate::{Candidate, Commit, EntryId, RunId, lanes};

/// How a train runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How many runs at once.
    pub slots: usize,
    /// The most entries of a car.
    pub batch: usize,
    /// How often an entry that failed alone is tested again before it is ejected: so often a flaky test is forgiven.
    pub confirmations: u32,
    /// The ejection that is an entry's last.
    pub ejections: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { slots: 2, batch: 16, confirmations: 1, ejections: 3 }
    }
}

/// Entries of which one is to blame for a failure: the first half is tested next. If it passes, it is the other's fault.
#[derive(Debug, Clone)]
struct Suspects {
    first: Vec<Candidate>,
    rest: Vec<Candidate>,
    evidence: Evidence,
    /// How often exactly the first half, as it would be built now, has failed.
    strikes: u32,
}

impl Suspects {
    fn into_car(self) -> Car {
        Car::new(self.first.clone(), Some(self))
    }
}

/// A train of merges.
#[derive(Debug)]
pub struct Train {
    rules: Rules,
    target: Commit,
    waiting: Vec<Candidate>,
    suspects: Vec<Suspects>,
    round: Option<Round>,
    /// What was landed since somebody else moved the target: what a failure is about is known by it.
    landed: Vec<EntryId>,
    orders: Vec<Order>,
    last_run: u64,
}

impl Train {
    /// A train upon a target, without entries.
    pub fn new(rules: Rules, target: Commit) -> Self {
        let (waiting, suspects, landed, orders) = (vec![], vec![], vec![], vec![]);
        Self { rules, target, waiting, suspects, round: None, landed, orders, last_run: 0 }
    }

    /// Where the target is, as far as the train knows.
    pub fn target(&self) -> &Commit {
        &self.target
    }

    /// Is there nothing to do, and nothing to wait for?
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.suspects.is_empty() && self.round.is_none() && self.orders.is_empty()
    }

    /// What the queue holds now, in its order. Entries that are gone, or have another head, are taken out of the train.
    pub fn queue(&mut self, candidates: Vec<Candidate>) {
        let is_as_before = |known: &Candidate| candidates.iter().any(|c| c.id == known.id && c.head == known.head);
        if self.round.as_ref().is_some_and(|round| !round.candidates().all(is_as_before)) {
            self.end_round();
        }
        for suspects in &mut self.suspects {
            suspects.first.retain(is_as_before);
            suspects.rest.retain(is_as_before);
        }
        // Suspects of whom one half is gone are nothing special any more: those that remain wait as others do.
        self.suspects.retain(|suspects| !suspects.first.is_empty());
        let riding: Vec<EntryId> = self.riding().map(|c| c.id.clone()).collect();
        let is_leaving = |c: &Candidate| {
            let takes_out = |order: &Order| matches!(order, Order::Eject { entry, .. } | Order::Abandon { entry, .. } if *entry == c.id);
            self.orders.iter().any(takes_out)
        };
        self.waiting = candidates.into_iter().filter(|c| !riding.contains(&c.id) && !is_leaving(c)).collect();
        for done in self.waiting.extract_if(.., |candidate| candidate.ejections >= self.rules.ejections) {
            self.orders.push(Order::Abandon { entry: done.id, ejections: done.ejections });
        }
    }

    /// Somebody else moved the target, or it is not where it was expected: all that was built is stale.
    pub fn target_moved(&mut self, to: Commit) {
        if to == self.target {
            return;
        }
        self.end_round();
        self.target = to;
        self.landed.clear();
        for suspects in &mut self.suspects {
            suspects.strikes = 0;
            suspects.evidence.after = usize::MAX;
        }
    }

    /// Everything that is to be done now. Nothing while outcomes are awaited.
    pub fn orders(&mut self) -> Vec<Order> {
        if self.round.is_none() {
            self.begin_round();
        }
        std::mem::take(&mut self.orders)
    }

    /// What came of [`Order::Build`]: a commit for each car that has an entry left which does not conflict, then for each
    /// such probe.
    pub fn built(&mut self, built: Vec<Built>, conflicts: Vec<Conflict>) {
        let Some(round) = &mut self.round else { return };
        if !round.is_building {
            return;
        }
        round.is_building = false;
        let mut set_aside = vec![];
        for conflict in conflicts {
            let Some(candidate) = round.take(&conflict.entry) else { continue };
            match conflict.with {
                ConflictsWith::Target => {
                    let evidence = Evidence::conflict(&self.target, &conflict);
                    self.orders.push(eject(&self.rules, &candidate, evidence));
                }
                // Who is ahead may fail yet; if not, it conflicts with the target in the next round.
                ConflictsWith::EntriesAhead => set_aside.push(candidate),
            }
        }
        for cars in [&mut round.cars, &mut round.probes] {
            for empty in cars.extract_if(.., |car| car.entries.is_empty()) {
                set_aside.extend(empty.suspects.into_iter().flat_map(|suspects| suspects.rest));
            }
        }
        let mut ahead = vec![];
        let stacked = round.cars.len();
        for (at, (car, built)) in round.cars.iter_mut().chain(&mut round.probes).zip(built).enumerate() {
            if at >= stacked {
                ahead.clear();
            }
            ahead.extend(car.entries.iter().map(|c| c.id.clone()));
            self.last_run += 1;
            let run = RunId(self.last_run);
            car.state = CarState::Running(run);
            car.built = Some(built.clone());
            self.orders.push(Order::Test { run, built, entries: ahead.clone() });
        }
        self.waiting.extend(set_aside);
        self.settle();
    }

    /// What came of [`Order::Test`]. Runs that were stopped, or that nobody waits for, change nothing.
    pub fn tested(&mut self, run: RunId, verdict: Verdict) {
        let Some(round) = &mut self.round else { return };
        if let Some(at) = round.probes.iter().position(|car| car.state == CarState::Running(run)) {
            let (probe, base, after) = (round.probes.remove(at), round.base.clone(), round.after);
            match verdict {
                Verdict::Passed => self.acquit(probe),
                Verdict::Failed(why) => self.blame(probe, (base, after), run, why),
            }
            return self.settle();
        }
        let Some(car) = round.cars.iter_mut().find(|car| car.state == CarState::Running(run)) else { return };
        car.state = match verdict {
            Verdict::Passed => CarState::Passed(run),
            Verdict::Failed(why) => CarState::Failed(run, why),
        };
        self.settle();
    }

    /// [`Order::Land`] was carried out.
    pub fn landed(&mut self, commit: &Commit) {
        let position = |round: &Round| round.cars.iter().position(|car| car.commit() == Some(commit));
        let Some((round, last)) = self.round.as_mut().and_then(|round| position(round).map(|last| (round, last)))
        else {
            return self.target_moved(commit.clone());
        };
        round.is_landing = false;
        let done: Vec<Car> = round.cars.drain(..=last).collect();
        self.target = commit.clone();
        self.landed.extend(done.iter().flat_map(|car| car.entries.iter().map(|c| c.id.clone())));
        for suspects in done.into_iter().filter_map(|car| car.suspects) {
            self.blame_rest(suspects);
        }
        self.settle();
    }

    /// Lands the longest train that passed, and blames the first car if it failed.
    fn settle(&mut self) {
        let Some(round) = &mut self.round else { return };
        if round.is_landing {
            return;
        }
        if let Some(last) = round.cars.iter().rposition(|car| matches!(car.state, CarState::Passed(_))) {
            let entries = round.cars[..=last].iter().flat_map(|car| car.entries.iter().map(|c| c.id.clone()));
            let entries = entries.collect();
            if let (CarState::Passed(run), Some(built)) = (&round.cars[last].state, &round.cars[last].built) {
                let land = Order::Land { from: self.target.clone(), built: built.clone(), run: *run, entries };
                let stale = round.cars[..last].iter().filter_map(Car::running);
                self.orders.extend(stale.map(|run| Order::Stop { run }));
                self.orders.push(land);
                round.is_landing = true;
            }
            return;
        }
        match round.cars.first().map(|car| &car.state) {
            None if round.probes.is_empty() => self.end_round(),
            Some(CarState::Failed(..)) => self.blame_first_car(),
            _ => {}
        }
    }

    /// The first car failed upon a target that passed, so one of its entries is to blame. What is built upon it is lost.
    fn blame_first_car(&mut self) {
        let Some(round) = &mut self.round else { return };
        let mut behind = std::mem::take(&mut round.cars).into_iter();
        let Some(car) = behind.next() else { return };
        self.set_aside(behind);
        if let CarState::Failed(run, why) = car.state.clone() {
            let upon = (self.target.clone(), self.landed.len());
            self.blame(car, upon, run, why);
        }
        self.settle();
    }

    /// These entries failed: the one is ejected, of several the first half is suspected.
    fn blame(&mut self, mut car: Car, (base, after): (Commit, usize), run: RunId, why: String) {
        let Some(built) = car.built else { return };
        let entries = car.entries.iter().map(|c| c.id.clone()).collect();
        let evidence = Evidence::failure(base, after, &built, entries, run, why);
        let (strikes, acquitted) = car.suspects.map_or((0, vec![]), |suspects| (suspects.strikes, suspects.rest));
        if let [alone] = car.entries.as_slice()
            && strikes >= self.rules.confirmations
        {
            self.orders.push(eject(&self.rules, alone, evidence));
        } else if car.entries.len() == 1 {
            self.suspects.push(Suspects { first: car.entries, rest: vec![], evidence, strikes: strikes + 1 });
        } else {
            let rest = car.entries.split_off(car.entries.len().div_ceil(2));
            self.suspects.push(Suspects { first: car.entries, rest, evidence, strikes: 0 });
        }
        // The first half is to blame; the other is as good as any.
        self.put_back(acquitted);
    }

    /// A probe passed. It was not built upon what may be landed meanwhile, so it waits to be tested there.
    fn acquit(&mut self, probe: Car) {
        self.put_back(probe.entries);
        if let Some(suspects) = probe.suspects {
            self.blame_rest(suspects);
        }
    }

    /// The first half passed, so the rest is to blame.
    fn blame_rest(&mut self, suspects: Suspects) {
        let Suspects { rest: mut first, evidence, .. } = suspects;
        if first.is_empty() {
            return;
        }
        let ids = first.iter().map(|c| &c.id);
        let is_exact = self.landed.iter().skip(evidence.after).chain(ids).eq(&evidence.entries);
        let strikes = u32::from(is_exact);
        if let [alone] = first.as_slice() {
            if strikes > self.rules.confirmations {
                self.orders.push(eject(&self.rules, alone, evidence));
            } else {
                self.suspects.push(Suspects { first, rest: vec![], evidence, strikes });
            }
        } else {
            let rest = first.split_off(first.len().div_ceil(2));
            self.suspects.push(Suspects { first, rest, evidence, strikes: 0 });
        }
    }

    fn begin_round(&mut self) {
        if self.waiting.is_empty() && self.suspects.is_empty() {
            return;
        }
        // One car of suspects, behind others that have nothing to do with any suspect, which it may not hold up. Other
        // suspects are probed: each alone upon the target, so that no one's failure hides another's.
        let slots = self.rules.slots.max(1);
        let accused: Vec<&Candidate> = self.suspects.iter().flat_map(|s| s.first.iter().chain(&s.rest)).collect();
        let apart: Vec<Candidate> =
            self.waiting.iter().filter(|c| !accused.iter().any(|other| other.overlaps(c))).cloned().collect();
        let for_suspects = slots.saturating_sub(usize::from(!apart.is_empty())).clamp(1, slots);
        let mut accused = self.suspects.drain(..self.suspects.len().min(for_suspects));
        let last = accused.next().map(Suspects::into_car);
        let probes: Vec<Car> = accused.map(Suspects::into_car).collect();
        let free = slots - usize::from(last.is_some()) - probes.len();
        let fresh = lanes::cars(&apart, free, self.rules.batch.max(1));
        self.waiting.retain(|c| !fresh.iter().flatten().any(|taken| taken.id == c.id));
        let cars: Vec<Car> = fresh.into_iter().map(|entries| Car::new(entries, None)).chain(last).collect();
        let plan = |cars: &[Car]| cars.iter().map(|car| car.entries.clone()).collect();
        let base = self.target.clone();
        self.orders.push(Order::Build { base: base.clone(), cars: plan(&cars), probes: plan(&probes) });
        self.round = Some(Round { base, after: self.landed.len(), cars, probes, is_building: true, is_landing: false });
    }

    /// Stops what still runs; entries that were neither landed nor blamed wait again.
    fn end_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        let is_of_round =
            |order: &Order| !matches!(order, Order::Build { .. } | Order::Test { .. } | Order::Land { .. });
        self.orders.retain(is_of_round);
        self.set_aside(round.cars.into_iter().chain(round.probes));
    }

    /// Stops these cars' runs.
    fn set_aside(&mut self, cars: impl Iterator<Item = Car>) {
        let mut unblamed = vec![];
        for car in cars {
            self.orders.extend(car.running().map(|run| Order::Stop { run }));
            match car.suspects {
                Some(suspects) => self.suspects.push(Suspects { first: car.entries, ..suspects }),
                None => unblamed.extend(car.entries),
            }
        }
        self.put_back(unblamed);
        self.suspects.retain(|suspects| !suspects.first.is_empty());
    }

    /// These were in the train before those that wait.
    fn put_back(&mut self, entries: Vec<Candidate>) {
        self.waiting.splice(..0, entries);
    }

    fn riding(&self) -> impl Iterator<Item = &Candidate> {
        let suspects = self.suspects.iter().flat_map(|s| s.first.iter().chain(&s.rest));
        suspects.chain(self.round.iter().flat_map(Round::candidates))
    }
}

fn eject(rules: &Rules, candidate: &Candidate, evidence: Evidence) -> Order {
    let ejections = candidate.ejections + 1;
    let fate = if ejections >= rules.ejections { Fate::Abandoned } else { Fate::MayReturn };
    Order::Eject { entry: candidate.id.clone(), evidence, fate }
}
