//! A webhook's delivery: is it GitHub's, was it dealt with before, and what comes of it.

use github::events::{Delivery, Heard, heard};
use github::sighting::Sighting;
use github::signature;
use jiff::Timestamp;
use model::github::GithubKind;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::pushes::{self, Became};
use super::records::{Name, Records, Stored};
use super::settle::Desk;
use crate::Coordinator;
use crate::failure::Failure;

/// How long a delivery is remembered: longer than GitHub lets anybody send it again.
const REMEMBERED_SECONDS: u32 = 7 * 86_400;
/// The longest id of a delivery that is one.
const ID_LIMIT: usize = 100;

/// Why a delivery is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Webhooks are not set up. The sentence says what is missing.
    NotSetUp(&'static str),
    /// It is not signed with our secret.
    BadSignature,
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Nothing went wrong.
    pub success: bool,
    /// `handled`, `repeated` or `ignored`.
    pub action: &'static str,
    /// Why it was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What it told of that was new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// What verifies the commit that was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changeset_id: Option<Uuid>,
}

impl Received {
    fn new(action: &'static str) -> Self {
        Self { success: true, action, reason: None, subjects: vec![], changeset_id: None }
    }

    fn ignored(reason: &'static str) -> Self {
        Self { reason: Some(reason), ..Self::new("ignored") }
    }
}

impl Coordinator {
    /// Is the body signed with our secret? To be asked before anything else is done with it.
    ///
    /// # Errors
    /// [`Rejected`]
    pub fn check_github_signature(&self, signature: Option<&str>, body: &[u8]) -> Result<(), Rejected> {
        let settings = &self.settings().github;
        let Some(secret) = &settings.webhook_secret else {
            return Err(Rejected::NotSetUp(
                "webhooks of GitHub are not set up: set GITHUB_WEBHOOK_SECRET to the webhook's secret",
            ));
        };
        if settings.repository.is_none() {
            return Err(Rejected::NotSetUp("webhooks of GitHub are not set up: set GITHUB_REPO to owner/name"));
        }
        match signature {
            Some(signature) if signature::is_valid(secret, body, signature) => Ok(()),
            _ => Err(Rejected::BadSignature),
        }
    }

    /// Deals with a delivery whose signature is good. What needs an answer of GitHub's is left to [`pass`](super::pass).
    ///
    /// # Errors
    /// [`Failure`]; GitHub may send it again then.
    pub async fn receive_from_github(&self, id: &str, event: &str, body: &Value) -> Result<Received, Failure> {
        let settings = &self.settings().github;
        let Some(repository) = &settings.repository else {
            return Err(Failure::field("repository", "GITHUB_REPO is not set"));
        };
        if id.is_empty() || id.len() > ID_LIMIT || id.chars().any(char::is_control) {
            return Err(Failure::field("X-GitHub-Delivery", "must name the delivery"));
        }
        let delivery = Delivery { id, event, body, arrived_at: Timestamp::now() };
        let heard = match heard(delivery, repository, &settings.merge_label) {
            Ok(Heard::Ignored(reason)) => return Ok(Received::ignored(reason)),
            Ok(heard) => heard,
            Err(why) => return Err(Failure::field("body", why)),
        };
        let records = Records { coordinator: self, project: self.default_project() };
        let name = Name { kind: GithubKind::Delivery, name: id.to_owned() };
        let earlier: Option<Stored<Value>> = records.read(&name).await?;
        if earlier.is_some() {
            return Ok(Received::new("repeated"));
        }
        let mut received = Received::new("handled");
        match heard {
            Heard::Sightings(sightings) => received.subjects = self.see(records, &sightings).await?,
            Heard::Pushed(pushed, mut sightings) => {
                sightings.extend(pushes::merged(records, &pushed).await?);
                received.subjects = self.see(records, &sightings).await?;
                let desk = Desk::open(records, None).await?;
                match pushes::verify(&desk, &pushed).await? {
                    Became::Submitted(changeset_id) => received.changeset_id = Some(changeset_id),
                    // Others' branches are none of our business, however many they are.
                    Became::Nothing(why) if sightings.is_empty() => return Ok(Received::ignored(why)),
                    Became::Nothing(_) => {}
                }
            }
            Heard::WorkflowEnded(run) => {
                let Some(ended) = records.workflow_ended(&run).await? else {
                    // It is not remembered either: others' workflows are none of our business, however many they are.
                    return Ok(Received::ignored("it is no workflow that verifies for us, or that was told before"));
                };
                received.subjects.push(format!("{} of {}", ended.policy, ended.revision));
            }
            Heard::Ignored(_) => {}
        }
        // Last of all: what failed on the way may be sent again. Another who was faster has remembered it.
        records.write(&name, 0, &event, Some(REMEMBERED_SECONDS)).await?;
        Ok(received)
    }

    /// Takes in what was seen, and does what follows. Tells what of it was new.
    async fn see(&self, records: Records<'_>, sightings: &[Sighting]) -> Result<Vec<String>, Failure> {
        let mut news = vec![];
        for sighting in sightings {
            news.extend(records.take_in(sighting).await?);
        }
        if news.is_empty() {
            return Ok(vec![]);
        }
        let mut desk = Desk::open(records, None).await?;
        for name in &news {
            desk.settle(name).await?;
        }
        self.github_news.notify_one();
        Ok(news.iter().map(Name::in_words).collect())
    }
}
