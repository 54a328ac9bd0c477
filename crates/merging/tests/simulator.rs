//! Whole queues through the train, in a world where changes break, tests flake and others push.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use merging::{
    Built, Candidate, Commit, Conflict, ConflictsWith, EntryId, Fate, Order, Rules, RunId, Train, Tree, Verdict,
};
use model::key::LockKey;
use proptest::prelude::*;

/// What is true of the changes, which the train must find out.
#[derive(Debug, Clone, Default)]
struct World {
    /// They fail wherever they are.
    bad: BTreeSet<usize>,
    /// They fail together.
    incompatible: Vec<(usize, usize)>,
    /// They conflict as texts.
    conflicting: Vec<(usize, usize)>,
    /// Runs that fail for no reason, by their number.
    flaky: BTreeSet<u64>,
    /// After so many runs somebody pushes to the target.
    pushes: BTreeSet<u64>,
    /// After so many runs the train is killed and begins anew.
    kills: BTreeSet<u64>,
}

/// What happened.
#[derive(Debug, Default)]
struct Told {
    landed: Vec<usize>,
    ejected: Vec<usize>,
    runs: u64,
    time: u64,
}

/// The entries that a commit holds, pushes of others as numbers from 1000 on.
type Commits = BTreeMap<Commit, Vec<usize>>;

fn candidate(id: usize, lane: Option<usize>) -> Candidate {
    let claim = lane.map_or("shared".to_owned(), |lane| format!("lane{lane}/file{id}"));
    let own = LockKey::parse(&claim).unwrap();
    Candidate { id: EntryId::new(id.to_string()), head: Commit::new(id.to_string()), claims: vec![own], ejections: 0 }
}

fn number(id: &EntryId) -> usize {
    id.as_str().parse().unwrap()
}

fn commit(holds: &[usize]) -> Built {
    let name = holds.iter().map(usize::to_string).collect::<Vec<_>>().join("+");
    let mut sorted = holds.to_vec();
    sorted.sort_unstable();
    Built { commit: Commit::new(format!("c{name}")), tree: Tree::new(format!("t{sorted:?}")) }
}

fn have(holds: &[usize], pairs: &[(usize, usize)]) -> bool {
    pairs.iter().any(|(a, b)| holds.contains(a) && holds.contains(b))
}

/// Runs the queue until nothing is left to do. Every run takes one unit of time, as many at once as the rules allow.
fn simulate(world: &World, rules: Rules, queue: Vec<Candidate>) -> Told {
    let mut told = Told::default();
    let mut commits = Commits::new();
    let start = commit(&[]);
    commits.insert(start.commit.clone(), vec![]);
    let mut target = start.commit;
    let mut queue = queue;
    let mut passed: BTreeMap<RunId, Built> = BTreeMap::new();
    let mut running: BTreeMap<RunId, (Built, Verdict)> = BTreeMap::new();
    let mut train = Train::new(rules, target.clone());
    train.queue(queue.clone());
    loop {
        let orders = train.orders();
        if orders.is_empty() && running.is_empty() {
            assert!(train.is_idle(), "the train waits for nothing: {train:?}");
            assert!(queue.is_empty(), "left over: {queue:?}");
            return told;
        }
        for order in &orders {
            match order {
                Order::Build { base, cars, probes } => {
                    let (mut built, mut conflicts) = build(world, &mut commits, base, cars);
                    for probe in probes {
                        let (more, conflict) = build(world, &mut commits, base, std::slice::from_ref(probe));
                        built.extend(more);
                        conflicts.extend(conflict);
                    }
                    train.built(built, conflicts);
                }
                Order::Test { run, built, .. } => {
                    told.runs += 1;
                    assert!(running.len() < rules.slots, "more runs than slots");
                    let holds = &commits[&built.commit];
                    let fails = holds.iter().any(|id| world.bad.contains(id)) || have(holds, &world.incompatible);
                    let fails = fails || world.flaky.contains(&told.runs);
                    let verdict = if fails { Verdict::Failed("test".into()) } else { Verdict::Passed };
                    running.insert(*run, (built.clone(), verdict));
                }
                Order::Stop { run } => {
                    running.remove(run);
                }
                Order::Land { from, built, run, entries } => {
                    assert_eq!(passed.get(run), Some(built), "what is landed did not pass");
                    if *from != target {
                        train.target_moved(target.clone());
                        continue;
                    }
                    let before = &commits[&target];
                    let after = &commits[&built.commit];
                    assert!(after.starts_with(before), "something that was landed is gone");
                    let new: Vec<usize> = entries.iter().map(number).collect();
                    assert_eq!(after[before.len()..], new, "what is landed is not what was said");
                    told.landed.extend(&new);
                    target = built.commit.clone();
                    queue.retain(|candidate| !entries.contains(&candidate.id));
                    train.landed(&target);
                }
                Order::Eject { entry, evidence, fate } => {
                    assert_eq!(*fate, if rules.ejections == 1 { Fate::Abandoned } else { Fate::MayReturn });
                    assert_eq!(evidence.entries.last(), Some(entry));
                    told.ejected.push(number(entry));
                    queue.retain(|candidate| candidate.id != *entry);
                }
                Order::Abandon { entry, .. } => queue.retain(|candidate| candidate.id != *entry),
            }
        }
        train.queue(queue.clone());
        if orders.is_empty() {
            told.time += 1;
            for (run, (built, verdict)) in std::mem::take(&mut running) {
                if verdict == Verdict::Passed {
                    passed.insert(run, built);
                }
                train.tested(run, verdict);
            }
            if world.pushes.contains(&told.time) {
                let mut holds = commits[&target].clone();
                holds.push(1000 + told.time as usize);
                let pushed = commit(&holds);
                commits.insert(pushed.commit.clone(), holds);
                target = pushed.commit;
            }
            if world.kills.contains(&told.time) {
                train = Train::new(rules, target.clone());
                train.queue(queue.clone());
                passed.clear();
            }
        }
        assert!(told.time < 10_000, "it never ends: {train:?}");
    }
}

fn build(world: &World, commits: &mut Commits, base: &Commit, cars: &[Vec<Candidate>]) -> (Vec<Built>, Vec<Conflict>) {
    let target = commits[base].clone();
    let (mut holds, mut built, mut conflicts) = (target.clone(), vec![], vec![]);
    for car in cars {
        let before = holds.len();
        for entry in car {
            let id = number(&entry.id);
            let upon = |below: &[usize]| have(&[below, &[id]].concat(), &world.conflicting);
            if upon(&holds) {
                let with = if upon(&target) { ConflictsWith::Target } else { ConflictsWith::EntriesAhead };
                conflicts.push(Conflict { entry: entry.id.clone(), with, what: "text".into() });
            } else {
                holds.push(id);
            }
        }
        if holds.len() > before {
            let made = commit(&holds);
            commits.insert(made.commit.clone(), holds.clone());
            built.push(made);
        }
    }
    (built, conflicts)
}

fn one_lane(count: usize) -> Vec<Candidate> {
    (0..count).map(|id| candidate(id, None)).collect()
}

#[test]
fn one_bad_change_of_sixteen_is_found_in_five_further_runs_and_the_others_land() {
    let mut most = BTreeMap::new();
    for confirmations in [0, 1] {
        for bad in 0..16 {
            let world = World { bad: [bad].into(), ..World::default() };
            let told = simulate(&world, Rules { slots: 1, confirmations, ..Rules::default() }, one_lane(16));
            assert_eq!(told.ejected, [bad]);
            assert_eq!(told.landed.len(), 15);
            // Without confirmation everything is over after five; one more run tells a flaky test from a bad change.
            assert!(told.runs <= 6 + u64::from(confirmations), "bad {bad}: {} runs", told.runs);
            let most = most.entry(confirmations).or_insert(0);
            *most = told.runs.max(*most);
        }
    }
    println!("16 changes, 1 bad: at most {} runs, {} with confirmation", most[&0], most[&1]);
}

#[test]
fn a_flaky_run_ejects_nobody() {
    for flaky in 1..=6 {
        for bad in [None, Some(3)] {
            let world = World { flaky: [flaky].into(), bad: bad.into_iter().collect(), ..World::default() };
            let told = simulate(&world, Rules { slots: 1, ..Rules::default() }, one_lane(16));
            assert_eq!(told.ejected, Vec::from_iter(bad), "run {flaky} is flaky");
        }
    }
}

#[test]
fn what_conflicts_with_an_entry_ahead_waits_until_that_is_landed_or_gone() {
    let world = World { conflicting: vec![(0, 1), (2, 3)], bad: [2].into(), ..World::default() };
    let told = simulate(&world, Rules { slots: 1, ..Rules::default() }, one_lane(4));
    assert_eq!(BTreeSet::from_iter(told.landed), [0, 3].into());
    assert_eq!(BTreeSet::from_iter(told.ejected), [1, 2].into());
}

#[test]
fn who_was_ejected_too_often_is_abandoned() {
    let mut tired = candidate(0, None);
    tired.ejections = 3;
    let told = simulate(&World::default(), Rules::default(), vec![tired, candidate(1, None)]);
    assert_eq!((told.landed, told.ejected), (vec![1], vec![]));
    let world = World { bad: [0].into(), ..World::default() };
    let told = simulate(&world, Rules { ejections: 1, ..Rules::default() }, one_lane(2));
    assert_eq!((told.landed, told.ejected), (vec![1], vec![0]));
}

#[test]
fn a_new_head_takes_an_entry_out_of_what_runs() {
    let mut train = Train::new(Rules::default(), Commit::new("base"));
    train.queue(one_lane(1));
    assert!(matches!(train.orders()[..], [Order::Build { .. }]));
    train.built(vec![commit(&[0])], vec![]);
    let [Order::Test { run, .. }] = train.orders()[..] else { panic!("no test") };
    let pushed = Candidate { head: Commit::new("later"), ..candidate(0, None) };
    train.queue(vec![pushed.clone()]);
    let orders = train.orders();
    assert_eq!(orders[0], Order::Stop { run });
    assert_eq!(orders[1], Order::Build { base: Commit::new("base"), cars: vec![vec![pushed]], probes: vec![] });
    train.tested(run, Verdict::Passed);
    assert_eq!(train.orders(), []);
}

/// A generator that gives the same numbers for the same seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

#[test]
fn disjoint_lanes_take_at_most_sixty_percent_of_the_serial_time() {
    let (mut serial, mut parallel, mut runs, mut landed) = (0, 0, 0, 0);
    for seed in 1..=200 {
        let mut number = numbers(seed);
        let queue: Vec<Candidate> = (0..64).map(|id| candidate(id, Some(id % 4))).collect();
        let bad = (0..64).filter(|_| number(20) == 0).collect();
        let flaky = (1..200).filter(|_| number(100) == 0).collect();
        let world = World { bad, flaky, ..World::default() };
        let one = simulate(&world, Rules { slots: 1, ..Rules::default() }, queue.clone());
        let four = simulate(&world, Rules { slots: 4, ..Rules::default() }, queue);
        serial += one.time;
        parallel += four.time;
        runs += four.runs;
        landed += four.landed.len();
        assert_eq!(four.landed.len(), 64 - world.bad.len(), "an innocent was ejected, seed {seed}");
    }
    let share = parallel as f64 / serial as f64;
    let each = runs as f64 / landed as f64;
    println!(
        "200 queues of 64, 5 % bad, 1 % flaky, 4 lanes: {share:.2} of the serial time, {each:.2} runs a landed change"
    );
    assert!(share <= 0.6, "{share}");
    assert!(each <= 1.5, "{each}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_only_what_passed_is_landed_and_every_entry_ends(
        count in 0_usize..24,
        lanes in 1_usize..6,
        bad in prop::collection::btree_set(0_usize..24, 0..4),
        incompatible in prop::collection::vec((0_usize..24, 0_usize..24), 0..3),
        conflicting in prop::collection::vec((0_usize..24, 0_usize..24), 0..3),
        flaky in prop::collection::btree_set(1_u64..60, 0..6),
        pushes in prop::collection::btree_set(1_u64..30, 0..5),
        kills in prop::collection::btree_set(1_u64..30, 0..3),
        slots in 1_usize..5,
        batch in 1_usize..9,
        confirmations in 0_u32..3,
    ) {
        let pairs = |pairs: Vec<(usize, usize)>| pairs.into_iter().filter(|(a, b)| a != b).collect::<Vec<_>>();
        let world = World {
            bad, incompatible: pairs(incompatible), conflicting: pairs(conflicting), flaky, pushes, kills,
        };
        let queue: Vec<Candidate> = (0..count).map(|id| candidate(id, (lanes > 1).then_some(id % lanes))).collect();
        let told = simulate(&world, Rules { slots, batch, confirmations, ..Rules::default() }, queue);
        let mut ended = [told.landed.clone(), told.ejected.clone()].concat();
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..count).collect::<Vec<_>>());
        let is_quiet = world.flaky.is_empty();
        if is_quiet {
            let blameless = |id: &usize| {
                let in_pair = |(a, b): &(usize, usize)| a == id || b == id;
                !world.bad.contains(id) && !world.incompatible.iter().chain(&world.conflicting).any(in_pair)
            };
            prop_assert!(!told.ejected.iter().any(blameless), "ejected {:?}", told.ejected);
        }
    }
}
