//! The operations that make the trail provable: verify it, sign a checkpoint of it, prove a row of it, export it.

use model::chain::Digest256;
use model::merkle::Prover;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::checkpoint::{Checkpoint, Purpose, origin};
use super::export::{Format, export_page};
use super::proof::{FORMAT, Proof};
use super::signing_key::{NoSigningKey, SigningKey, VerifierKey};
use super::walk::{Finding, Walk, verify};
use crate::Coordinator;
use crate::failure::{Details, Failure};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};

impl From<NoSigningKey> for Failure {
    fn from(error: NoSigningKey) -> Self {
        Self::Conflict(Details::new("no_signing_key", error.to_string()))
    }
}

impl Coordinator {
    /// The key that signs checkpoints, made where there is none.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Failure> {
        let path = self.settings().audit_signing_key.as_deref().ok_or(NoSigningKey::NoPlace)?;
        Ok(SigningKey::read_or_make(path)?)
    }

    /// What signatures are checked with: the key that the request names, else ours, where there is one.
    pub(crate) fn verifier_key(&self, named: Option<&str>) -> Result<Option<VerifierKey>, Failure> {
        if let Some(text) = named {
            return text.parse().map(Some).map_err(|_| Failure::field("public_key", "must be as audit key prints it"));
        }
        let Some(path) = self.settings().audit_signing_key.as_deref() else { return Ok(None) };
        Ok(SigningKey::read(path)?.map(|key| key.public()))
    }

    fn opened(&self, note: &str, key: Option<&VerifierKey>) -> Result<Checkpoint, Failure> {
        let no_key = "name the public key of whoever signed it: this machine has signed none";
        let key = key.ok_or_else(|| Failure::field("public_key", no_key))?;
        Checkpoint::open(note, Purpose::Publication, key).map_err(|why| Failure::field("checkpoint", why.to_string()))
    }
}

/// Verifies the trail.
pub struct VerifyAudit;

/// With what to compare it.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct VerifyRequest {
    /// A signed checkpoint that was kept elsewhere
    #[schemars(length(max = 65_536))]
    checkpoint: Option<String>,
    /// Who signed it; default: this coordinator
    #[schemars(length(max = 512))]
    public_key: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyAnswer {
    /// Does all fit?
    success: bool,
    /// Why not: the first finding's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// How many rows were hashed.
    rows: u64,
    /// How many were pruned before.
    sealed: u64,
    /// How many rows the checkpoint covers; those after it are held by the chain only.
    #[serde(skip_serializing_if = "Option::is_none")]
    covered: Option<u64>,
    /// The root of the tree over all rows.
    #[schemars(with = "String")]
    root: Digest256,
    /// What does not fit.
    findings: Vec<Finding>,
}

impl Operation for VerifyAudit {
    type Request = VerifyRequest;
    type Answer = VerifyAnswer;
    const NAME: &'static str = "verify_audit";
    const SUMMARY: &'static str = "Check that nobody changed the audit trail, best against a signed checkpoint.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/audit/verify")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str = "Hashes every row anew. Without a checkpoint, only changes by somebody who did not hash the \
                                  rest of the trail anew are found, and the removal of its last rows is not.";

    async fn run(context: &Context<'_>, request: VerifyRequest) -> Result<VerifyAnswer, Failure> {
        let coordinator = context.coordinator;
        let key = coordinator.verifier_key(request.public_key.as_deref())?;
        let opened = request.checkpoint.as_deref().map(|note| coordinator.opened(note, key.as_ref()));
        let checkpoint = opened.transpose()?;
        let report = verify(coordinator.store(), context.project, checkpoint.as_ref(), key.as_ref()).await?;
        Ok(VerifyAnswer {
            success: report.findings.is_empty(),
            reason: report.findings.first().map(|finding| finding.code),
            rows: report.rows,
            sealed: report.sealed,
            covered: checkpoint.map(|checkpoint| checkpoint.size),
            root: report.frontier.root(),
            findings: report.findings,
        })
    }
}

/// Signs a checkpoint.
pub struct CheckpointAudit;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckpointRequest {}

/// The checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckpointAnswer {
    success: bool,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The signed note, to be kept where whoever can change the database cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    /// How many rows it covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// What its signature is checked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// What does not fit: such a trail is not signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
}

impl Operation for CheckpointAudit {
    type Request = CheckpointRequest;
    type Answer = CheckpointAnswer;
    const NAME: &'static str = "checkpoint_audit";
    const SUMMARY: &'static str = "Verify the audit trail and sign how it stands now.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/audit/checkpoint")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str = "The checkpoint is a signed note (C2SP tlog-checkpoint). Keep it where whoever can change the \
                                  database cannot: what it covers can then not be changed unseen.";

    async fn run(context: &Context<'_>, _: CheckpointRequest) -> Result<CheckpointAnswer, Failure> {
        let coordinator = context.coordinator;
        let mut answer = CheckpointAnswer {
            success: false,
            reason: None,
            message: None,
            checkpoint: None,
            size: None,
            public_key: None,
            findings: vec![],
        };
        let known = coordinator.verifier_key(None)?;
        let report = verify(coordinator.store(), context.project, None, known.as_ref()).await?;
        let Some(checkpoint) = report.checkpoint().filter(|_| report.findings.is_empty()) else {
            let nothing = Some("audit_trail_empty");
            return Ok(CheckpointAnswer {
                reason: report.findings.first().map(|finding| finding.code).or(nothing),
                findings: report.findings,
                ..answer
            });
        };
        let key = match coordinator.signing_key() {
            Ok(key) => key,
            Err(failure) => {
                answer.reason = Some(failure.code());
                answer.message = Some(failure.message());
                return Ok(answer);
            }
        };
        answer.success = true;
        answer.size = Some(checkpoint.size);
        answer.public_key = Some(key.public().named(&origin(&checkpoint.trail, Purpose::Publication)));
        answer.checkpoint = Some(checkpoint.sign(Purpose::Publication, &key));
        Ok(answer)
    }
}

/// Proves that a row is in the trail.
pub struct ProveAudit;

/// Which row.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ProveRequest {
    /// The row's id, as query_audit shows it
    id: Uuid,
    /// A signed checkpoint to prove it against; default: one of now
    #[schemars(length(max = 65_536))]
    checkpoint: Option<String>,
    /// Who signed it; default: this coordinator
    #[schemars(length(max = 512))]
    public_key: Option<String>,
}

/// The proof.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProveAnswer {
    success: bool,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Anybody can check it who has the public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

impl Operation for ProveAudit {
    type Request = ProveRequest;
    type Answer = ProveAnswer;
    const NAME: &'static str = "prove_audit";
    const SUMMARY: &'static str = "Prove that a row is in the audit trail that a checkpoint was signed for.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/audit/prove")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str = "The proof has a few hashes more than the row, and `coordinator audit check-proof` checks it \
                                  without the database.";

    async fn run(context: &Context<'_>, request: ProveRequest) -> Result<ProveAnswer, Failure> {
        let coordinator = context.coordinator;
        let key = coordinator.verifier_key(request.public_key.as_deref())?;
        let given = request.checkpoint.as_deref().map(|note| coordinator.opened(note, key.as_ref())).transpose()?;
        let wanted = request.id.to_string();
        let mut found: Option<(Proof, Prover)> = None;
        let walk = Walk::start(coordinator.store(), context.project, key.as_ref()).await?;
        let size = given.as_ref().map(|checkpoint| checkpoint.size);
        let report = walk
            .to_the_end(|step| {
                let next = step.frontier.size() + 1;
                if size.is_some_and(|size| next > size) {
                    return false;
                }
                if found.is_none() && step.row.row.text("id") == Some(&wanted) {
                    let proof = Proof {
                        format: FORMAT.into(),
                        seq: next,
                        row: String::from_utf8_lossy(step.row.row.as_bytes()).into_owned(),
                        previous: step.previous,
                        path: vec![],
                        checkpoint: request.checkpoint.clone().unwrap_or_default(),
                    };
                    found = Some((proof, Prover::of_next(step.frontier.clone())));
                }
                if let Some((_, prover)) = &mut found {
                    prover.push(&step.hash);
                }
                true
            })
            .await?;
        let refused = |reason| Ok(ProveAnswer { success: false, reason: Some(reason), proof: None });
        if let Some(finding) = report.findings.first() {
            return refused(finding.code);
        }
        let Some((mut proof, prover)) = found else { return refused("audit_entry_not_found") };
        let now = report.checkpoint();
        let Some(checkpoint) = given.as_ref().or(now.as_ref()) else { return refused("audit_entry_not_found") };
        if now.as_ref() != Some(checkpoint) {
            return refused("checkpoint_mismatch");
        }
        if given.is_none() {
            proof.checkpoint = checkpoint.sign(Purpose::Publication, &coordinator.signing_key()?);
        }
        proof.path = prover.path();
        Ok(ProveAnswer { success: true, reason: None, proof: Some(proof) })
    }
}

/// Gives the trail out, oldest first.
pub struct ExportAudit;

/// Which part.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ExportRequest {
    /// Default jsonl: entries as in query_audit, with their hashes
    #[schemars(with = "Option<String>", extend("enum" = ["jsonl", "cloudevents"]))]
    format: Option<Format>,
    /// Only rows behind this position
    #[schemars(range(min = 0))]
    after: Option<i64>,
    /// Default 500
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

/// A page, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportAnswer {
    /// Entries or events.
    entries: Vec<Value>,
    /// Behind which position the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<i64>,
}

impl Operation for ExportAudit {
    type Request = ExportRequest;
    type Answer = ExportAnswer;
    const NAME: &'static str = "export_audit";
    const SUMMARY: &'static str = "Give the audit trail out, oldest first, as entries or as CloudEvents.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/audit/export")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: ExportRequest) -> Result<ExportAnswer, Failure> {
        let limit = request.limit.unwrap_or(500);
        let format = request.format.unwrap_or(Format::Jsonl);
        let after = request.after.unwrap_or_default();
        let (entries, next_after) =
            export_page(context.coordinator.store(), context.project, format, after, limit).await?;
        Ok(ExportAnswer { entries, next_after })
    }
}
