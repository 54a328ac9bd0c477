//! A walk along the trail, from what was pruned to its end, that hashes each row anew and tells of whatever does not fit.
//!
//! It remembers one hash and the tree's frontier, however long the trail is.

use model::chain::{self, ChainedRow, Digest256, Seal};
use model::id::Project;
use model::merkle::Frontier;
use schemars::JsonSchema;
use serde::Serialize;
use store::{Store, StoreError};

use super::checkpoint::{Checkpoint, Purpose};
use super::signing_key::VerifierKey;

/// How many rows are read at once.
const PAGE: u32 = 500;
/// A trail can be wrong in more places than anybody wants to read of.
const FINDINGS_LIMIT: usize = 20;

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The row's position, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// Stable code.
    pub code: &'static str,
    /// What it means.
    pub message: String,
}

/// What a walk has found.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many rows were hashed.
    pub rows: u64,
    /// How many were pruned before.
    pub sealed: u64,
    /// The trail's end: how many rows it ever had, and the root of the tree over them.
    pub frontier: Frontier,
    /// Which trail it is; `None` when nothing was ever recorded.
    pub trail: Option<Digest256>,
    /// What does not fit, at most so many.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The trail as it is now, to be signed; `None` when nothing was ever recorded.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let trail = self.trail?;
        Some(Checkpoint { trail, size: self.frontier.size(), root: self.frontier.root() })
    }
}

/// On its way along the trail.
pub struct Walk<'a> {
    store: &'a dyn Store,
    project: &'a Project,
    /// The last row that was passed, and its hash.
    position: i64,
    head: Digest256,
    report: Report,
}

/// A row, and what is before it.
pub struct Step<'a> {
    /// The row.
    pub row: &'a ChainedRow,
    /// The hash of the row before.
    pub previous: Digest256,
    /// Its own.
    pub hash: Digest256,
    /// The tree without it.
    pub frontier: &'a Frontier,
}

impl<'a> Walk<'a> {
    /// At the beginning, or behind the rows that were pruned; the seal of these must be signed with the key.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn start(
        store: &'a dyn Store,
        project: &'a Project,
        key: Option<&VerifierKey>,
    ) -> Result<Self, StoreError> {
        let report = Report { rows: 0, sealed: 0, frontier: Frontier::default(), trail: None, findings: vec![] };
        let mut walk = Self { store, project, position: 0, head: Digest256::START, report };
        if let Some(seal) = store.audit_seal(project).await? {
            walk.begin_behind(&seal, key);
        }
        Ok(walk)
    }

    fn begin_behind(&mut self, seal: &Seal, key: Option<&VerifierKey>) {
        let size = u64::try_from(seal.size).unwrap_or_default();
        (self.position, self.head) = (seal.size, seal.hash);
        (self.report.sealed, self.report.trail) = (size, Some(seal.trail));
        match Frontier::resume(size, seal.frontier.clone()) {
            Some(frontier) => self.report.frontier = frontier,
            None => return self.find(None, "seal_damaged", "the seal of the pruned rows was changed".into()),
        }
        let claimed = Checkpoint { trail: seal.trail, size, root: self.report.frontier.root() };
        let message = match key.map(|key| Checkpoint::open(&seal.checkpoint, Purpose::Retention, key)) {
            Some(Ok(signed)) if signed == claimed => return,
            Some(Ok(_)) => "the seal of the pruned rows is not the one that was signed".into(),
            Some(Err(why)) => format!("the seal of the pruned rows cannot be trusted: {why}"),
            None => {
                "rows were pruned, and there is no key to check their seal with: name the signer's public key".into()
            }
        };
        self.find(None, "seal_not_trusted", message);
    }

    /// Goes to the end, and shows each row to `look`, which ends the walk before that row by answering `false`.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn to_the_end(mut self, mut look: impl FnMut(Step<'_>) -> bool + Send) -> Result<Report, StoreError> {
        loop {
            let page = self.store.audit_chain(self.project, self.position, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for row in &page {
                if !self.pass(row, &mut look) {
                    return Ok(self.report);
                }
            }
            if is_last {
                return Ok(self.report);
            }
        }
    }

    fn pass(&mut self, row: &ChainedRow, look: &mut impl FnMut(Step<'_>) -> bool) -> bool {
        if row.seq != self.position + 1 {
            let message = format!("rows are missing between {} and {}", self.position, row.seq);
            self.find(Some(row.seq), "rows_missing", message);
        }
        let hash = chain::link(&self.head, &row.row);
        let fits = row.hash == Some(hash);
        if !fits {
            let message = format!("row {} is not what was recorded, or the one before it is not", row.seq);
            self.find(Some(row.seq), "row_changed", message);
        }
        if self.position == 0 {
            self.report.trail = Some(hash);
        }
        let step = Step { row, previous: self.head, hash, frontier: &self.report.frontier };
        if !look(step) {
            return false;
        }
        self.position = row.seq;
        // Where one row was changed, the next ones need not be told of as well.
        self.head = row.hash.unwrap_or(hash);
        self.report.rows += 1;
        self.report.frontier.push(&hash);
        true
    }

    fn find(&mut self, seq: Option<i64>, code: &'static str, message: String) {
        if self.report.findings.len() < FINDINGS_LIMIT {
            self.report.findings.push(Finding { seq, code, message });
        }
    }
}

/// Goes along the whole trail and compares it with a checkpoint, if there is one.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn verify(
    store: &dyn Store,
    project: &Project,
    checkpoint: Option<&Checkpoint>,
    key: Option<&VerifierKey>,
) -> Result<Report, StoreError> {
    let walk = Walk::start(store, project, key).await?;
    let size = checkpoint.map(|checkpoint| checkpoint.size);
    // The tree at the checkpoint's size: what was pruned may be just that.
    let mut then = Some(&walk.report.frontier).filter(|frontier| size == Some(frontier.size())).map(Frontier::root);
    let mut report = walk
        .to_the_end(|step| {
            if size == Some(step.frontier.size() + 1) {
                let mut frontier = step.frontier.clone();
                frontier.push(&step.hash);
                then = Some(frontier.root());
            }
            true
        })
        .await?;
    if let Some(checkpoint) = checkpoint
        && let Some((code, message)) = contradiction(checkpoint, &report, then)
    {
        report.findings.insert(0, Finding { seq: None, code, message });
    }
    Ok(report)
}

fn contradiction(checkpoint: &Checkpoint, report: &Report, then: Option<Digest256>) -> Option<(&'static str, String)> {
    let (signed, now) = (checkpoint.size, report.frontier.size());
    if report.trail != Some(checkpoint.trail) {
        return Some((
            "other_trail",
            "this is another trail than the checkpoint's: it was replaced from its first row, or is another project's"
                .into(),
        ));
    }
    match then {
        Some(root) if root == checkpoint.root => None,
        Some(_) => Some((
            "checkpoint_mismatch",
            format!("the first {signed} rows are not those that the checkpoint was signed for"),
        )),
        None if signed > now => Some((
            "rows_cut",
            format!(
                "the checkpoint was signed for {signed} rows, and there are only {now}: the last ones were removed"
            ),
        )),
        None => Some((
            "checkpoint_too_old",
            format!(
                "the checkpoint was signed for {signed} rows, and {} were pruned since: verify with a later one",
                report.sealed
            ),
        )),
    }
}
