//! Agents coordinated by GitHub: whatever is lost, repeated or late on the way, the same locks and tasks come of it.

mod converging;
mod fake;
mod following;
mod pushes;
mod workflows;

use std::collections::BTreeSet;
use std::sync::Arc;

use coordinator::Coordinator;
use coordinator::github::webhook::Received;
use coordinator::settings::Settings;
use fake::{Delivery, Fake};
use github::{RepositoryName, Secret};
use model::merge_queue::MergeScope;
use model::work::TaskFilter;

use crate::support::coordinator_with;

/// A coordinator that follows the repository. It has a token if it asks GitHub.
fn follower(fake: &Fake) -> Arc<Coordinator> {
    follower_with(fake, |_| {})
}

fn follower_with(fake: &Fake, change: impl FnOnce(&mut Settings)) -> Arc<Coordinator> {
    coordinator_with(|settings| {
        change(settings);
        settings.github.repository = RepositoryName::parse(fake::REPOSITORY).ok();
        settings.github.api_url.clone_from(&fake.address);
        settings.github.token = Some(Secret::new("t"));
    })
}

async fn deliver(coordinator: &Coordinator, delivery: &Delivery) -> Received {
    coordinator.receive_from_github(&delivery.id, delivery.event, &delivery.body).await.unwrap()
}

/// All that has happened since the last time, in this order.
async fn deliver_all(coordinator: &Coordinator, fake: &Fake) {
    let deliveries = fake.contents().take_deliveries();
    for delivery in &deliveries {
        deliver(coordinator, delivery).await;
    }
}

/// `agent key`, by name.
async fn held(coordinator: &Coordinator) -> BTreeSet<String> {
    let locks = coordinator.store().locks(coordinator.default_project(), None).await.unwrap();
    locks.iter().map(|lock| format!("{} {}", lock.agent_id, lock.key)).collect()
}

/// `status assignee title`, oldest first.
async fn tasks(coordinator: &Coordinator) -> Vec<String> {
    let filter = TaskFilter { limit: 1_000, ..TaskFilter::default() };
    let mut tasks = coordinator.store().tasks(coordinator.default_project(), &filter).await.unwrap();
    tasks.reverse();
    let line = |task: &model::work::Task| {
        let title = task.description.lines().next().unwrap_or_default();
        let assignee = task.assignee.as_ref().map_or("", |agent| agent.as_str());
        format!("{} {assignee} {title}", task.status.as_str())
    };
    tasks.iter().map(line).collect()
}

/// `feature state`, by name.
async fn queue(coordinator: &Coordinator) -> BTreeSet<String> {
    let entries =
        coordinator.store().merge_entries(coordinator.default_project(), MergeScope::Open, 100).await.unwrap();
    entries.iter().map(|entry| format!("{} {}", entry.feature_id, entry.state.as_str())).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
