//! Proofs: that one row is in the trail that a checkpoint was signed for. They are short, and checked without the database.

use model::chain::{self, CanonicalRow, Digest256};
use model::merkle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Purpose};
use super::signing_key::VerifierKey;

/// What a proof calls itself.
pub const FORMAT: &str = "agent-coordinator audit proof v1";

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// What it is, and in which version.
    pub format: String,
    /// The row's position in the trail.
    pub seq: u64,
    /// The row in its canonical form.
    pub row: String,
    /// The hash of the row before it.
    #[schemars(with = "String")]
    pub previous: Digest256,
    /// The hashes from the row's leaf up to the root.
    #[schemars(with = "Vec<String>")]
    pub path: Vec<Digest256>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Proof {
    /// Checks it. Nothing in it is believed but the signature.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self, key: &VerifierKey) -> Result<(Checkpoint, CanonicalRow), String> {
        if self.format != FORMAT {
            return Err(format!("this is no {FORMAT}"));
        }
        let checkpoint =
            Checkpoint::open(&self.checkpoint, Purpose::Publication, key).map_err(|why| why.to_string())?;
        let row = CanonicalRow::from_bytes(self.row.clone().into_bytes());
        if row.columns().is_none() || row.text("seq") != Some(&self.seq.to_string()) || self.seq == 0 {
            return Err("the row is none, or not the one at this position".into());
        }
        let hash = chain::link(&self.previous, &row);
        match merkle::root_from_path(self.seq - 1, checkpoint.size, &hash, &self.path) {
            Some(root) if root == checkpoint.root => Ok((checkpoint, row)),
            _ => Err("the row is not in the trail that the checkpoint was signed for".into()),
        }
    }
}
