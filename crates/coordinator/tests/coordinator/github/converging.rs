//! Whatever happens on GitHub: webhooks in any order and more than once, polling through outages and limits, and both together
//! with webhooks lost lead to the same state, which is the one that GitHub shows.

use std::collections::BTreeSet;

use coordinator::github::sync::Interrupted;
use github::{Client, Error};
use proptest::prelude::*;
use proptest::sample::select;

use super::fake::{Contents, Fake};
use super::*;

/// What somebody does on GitHub.
#[derive(Debug, Clone)]
enum Deed {
    Open(u64),
    Label(u64, &'static str),
    Unlabel(u64, &'static str),
    Assign(u64, Option<&'static str>),
    Close(u64, &'static str),
    Reopen(u64),
    Push(&'static str, &'static str),
    Delete(&'static str),
    Pull(u64, &'static str),
    Merge(u64),
    Pass(i64),
    /// Whoever polls does so now.
    Poll,
}

/// No two agents want the same: who comes first would be by chance.
const LABELS: &[&str] = &["agent:ann", "locked:src", "locked:docs/**", "status:assigned", "bug"];
const BRANCHES: &[&str] = &["agent/bob/1", "agent/cy/2/x", "agent/", "main"];
const FILES: &[&str] = &["b/1.rs", "b/2.rs"];

/// The default branch's name, and two pages each of what begins like it and of what begins like an agent's.
const REQUESTS_FOR_BRANCHES: usize = 5;

fn deed() -> impl Strategy<Value = Deed> {
    let issue = || 1_u64..4;
    let pull = || 10_u64..12;
    let any = || prop_oneof![3 => issue(), 1 => pull()];
    prop_oneof![
        2 => issue().prop_map(Deed::Open),
        8 => (issue(), select(LABELS)).prop_map(|(n, label)| Deed::Label(n, label)),
        5 => (issue(), select(LABELS)).prop_map(|(n, label)| Deed::Unlabel(n, label)),
        2 => pull().prop_map(|n| Deed::Label(n, "merge-queue")),
        1 => pull().prop_map(|n| Deed::Unlabel(n, "merge-queue")),
        1 => (issue(), prop_oneof![Just(None), Just(Some("ann"))]).prop_map(|(n, login)| Deed::Assign(n, login)),
        2 => (any(), select(&["completed", "not_planned"][..])).prop_map(|(n, reason)| Deed::Close(n, reason)),
        2 => any().prop_map(Deed::Reopen),
        4 => (select(BRANCHES), select(FILES)).prop_map(|(branch, file)| Deed::Push(branch, file)),
        1 => select(BRANCHES).prop_map(Deed::Delete),
        2 => (pull(), select(BRANCHES)).prop_map(|(n, branch)| Deed::Pull(n, branch)),
        1 => pull().prop_map(Deed::Merge),
        8 => select(vec![1, 50, 400, 5_000]).prop_map(Deed::Pass),
        2 => Just(Deed::Poll),
    ]
}

impl Deed {
    fn is_done(&self, contents: &mut Contents) {
        // Nothing happens at the same instant.
        contents.pass(2);
        match *self {
            Self::Open(n) if !contents.has(n) => contents.open_issue(n, &format!("Issue {n}")),
            Self::Label(n, label) => contents.label(n, label),
            Self::Unlabel(n, label) => contents.unlabel(n, label),
            Self::Assign(n, login) => contents.assign(n, login),
            Self::Close(n, reason) => contents.close(n, reason),
            Self::Reopen(n) => contents.reopen(n),
            Self::Push(branch, file) => contents.push(branch, &[&format!("{branch}/{file}")]),
            Self::Delete(branch) => contents.delete(branch),
            Self::Pull(n, branch) if !contents.has(n) => contents.open_pull(n, branch),
            Self::Merge(n) => contents.merge(n),
            Self::Pass(milliseconds) => contents.pass(milliseconds),
            Self::Open(_) | Self::Pull(..) | Self::Poll => {}
        }
    }
}

/// What follows from how GitHub stands now, whatever was before.
#[derive(Debug, PartialEq)]
struct Outcome {
    held: BTreeSet<String>,
    open_tasks: BTreeSet<String>,
    queue: BTreeSet<String>,
}

impl Outcome {
    async fn of(coordinator: &Coordinator) -> Self {
        let open_tasks = tasks(coordinator).await.into_iter().filter(|task| task.starts_with("pending")).collect();
        Self { held: held(coordinator).await, open_tasks, queue: queue(coordinator).await }
    }
}

/// Goes on until GitHub lets it come to its end.
async fn poll(coordinator: &Coordinator, fake: &Fake, client: &Client, budget: Option<u32>) {
    fake.contents().budget = budget;
    for more in 2..100 {
        match coordinator.sync_github(client).await {
            Ok(_) => {
                fake.contents().budget = None;
                return;
            }
            Err(Interrupted::Github(Error::RateLimited { .. })) => fake.contents().budget = Some(more),
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it does not come to its end: {:#?}", fake.contents().requests);
}

async fn check(deeds: Vec<Deed>, order: Vec<u32>, lost: Vec<bool>) -> Result<(), TestCaseError> {
    let fake = Fake::start().await;
    fake.contents().is_shaky = true;
    let client = fake.client();
    let (hears, polls, both) = (follower(&fake), follower(&fake), follower(&fake));
    let mut deliveries = vec![];
    for deed in &deeds {
        deed.is_done(&mut fake.contents());
        if matches!(deed, Deed::Poll) {
            poll(&polls, &fake, &client, Some(3)).await;
            poll(&both, &fake, &client, Some(9)).await;
        }
        let new = fake.contents().take_deliveries();
        for delivery in &new {
            if !lost[deliveries.len() % lost.len()] {
                deliver(&both, delivery).await;
            }
            deliveries.push(delivery.clone());
        }
    }
    // In any order, and some twice.
    let mut shuffled: Vec<(u32, &Delivery)> = deliveries
        .iter()
        .enumerate()
        .map(|(at, delivery)| (order[at % order.len()].wrapping_mul(at as u32 + 1), delivery))
        .collect();
    shuffled.sort_by_key(|(place, _)| *place);
    let again: Vec<&Delivery> = shuffled.iter().step_by(3).map(|(_, delivery)| *delivery).collect();
    for delivery in shuffled.iter().map(|(_, delivery)| *delivery).chain(again) {
        deliver(&hears, delivery).await;
    }
    poll(&polls, &fake, &client, Some(2)).await;
    fake.contents().is_shaky = false;
    // What one of them says on GitHub is news to the others.
    for _ in 0..4 {
        fake.contents().pass(5_000);
        deliver_all(&hears, &fake).await;
        hears.pass_over_github(Some(&client)).await.unwrap();
        poll(&polls, &fake, &client, None).await;
        poll(&both, &fake, &client, None).await;
    }
    for follower in [&polls, &both] {
        // Once more, with nothing new.
        let asked = fake.contents().requests.len();
        let row = crate::support::trail(follower).await.len();
        poll(follower, &fake, &client, None).await;
        prop_assert_eq!(crate::support::trail(follower).await.len(), row, "a repetition writes nothing");
        let most = fake.contents().requests_for_the_last_second() + REQUESTS_FOR_BRANCHES;
        prop_assert!(fake.contents().requests.len() - asked <= most, "{:?}", &fake.contents().requests[asked..]);
    }
    let heard = Outcome::of(&hears).await;
    prop_assert_eq!(&Outcome::of(&polls).await, &heard, "polled, and heard");
    prop_assert_eq!(&Outcome::of(&both).await, &heard, "both, and heard");
    prop_assert_eq!(&heard.held, &fake.contents().wanted(), "what GitHub shows");
    Ok(())
}

/// `PROPTEST_CASES` runs more of them.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn hearing_and_polling_lead_to_the_same(
        deeds in proptest::collection::vec(deed(), 1..40),
        order in proptest::collection::vec(any::<u32>(), 1..20),
        lost in proptest::collection::vec(any::<bool>(), 1..7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(deeds, order, lost))?;
    }
}
