//! From a question to memories. A database only tells where words occur; what is relevant is decided in
//! [`model::ranking`], so that every store gives the same answer.

use model::id::Project;
use model::ranking::{Question, Ranked};

use crate::{Store, StoreError};

/// The memories that have to do with the question, most relevant first.
///
/// Two reads. No memory ever goes, so that one stored or merged between them does no harm.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn recall(store: &dyn Store, project: &Project, question: &Question) -> Result<Vec<Ranked>, StoreError> {
    let found = store.search_memories(project, &question.search()).await?;
    let shortlist = question.shortlist(&found);
    if shortlist.is_empty() {
        return Ok(vec![]);
    }
    let words: Vec<String> = found.words.iter().map(|postings| postings.term.clone()).collect();
    let candidates = store.memories(project, &shortlist, &words).await?;
    Ok(question.rank(&found, candidates))
}
