//! What the checks found.

use std::fmt;

use super::trail::Row;

/// What a violation is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A lock was granted while another agent held one that it must not overlap.
    DoubleGrant,
    /// A task was claimed while a claim on it was live.
    DoubleClaim,
    /// An acknowledged write is not in the trail, or its effect is not in the state.
    LostWrite,
    /// The trail has a gap, a row twice, a row of nobody, or says other than the client was told.
    Audit,
    /// Something was carried out before something that had ended before it began; or a read showed what was over.
    RealTime,
    /// The outcome is not what the rules make of the state before it.
    Model,
    /// A process ended unasked, hung, stayed behind, or gave an answer that must not be given.
    Process,
}

/// One violation.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which kind.
    pub kind: Kind,
    /// What is wrong, with what it takes to look it up.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// All violations.
#[derive(Debug, Clone, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one.
    pub fn add(&mut self, kind: Kind, text: impl Into<String>) {
        self.0.push(Finding { kind, text: text.into() });
    }

    /// Adds one about a row of the trail.
    pub fn about(&mut self, kind: Kind, row: &Row, text: impl fmt::Display) {
        self.add(kind, format!("row {} ({} by {}): {text}; it says {}", row.seq, row.operation, row.agent, row.result));
    }

    /// How many of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|finding| finding.kind == kind).count()
    }

    /// All of them, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Is there none?
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
