//! What we refuse is said on GitHub: one comment for each reason, edited rather than repeated, and a label by which the issues
//! are found.

use std::collections::BTreeMap;

use github::sighting::{Known, PullStage};
use github::{Client, Error};
use model::github::GithubKind;

use super::records::{Name, Records, Refused, Said, Stored, Subject};
use crate::failure::Failure;
use crate::identity::{hash, hex};

/// On what has a refusal that stands.
const LABEL: &str = "coordinator:refused";
/// How many digits of its hash name a reason in a comment.
const MARK: usize = 16;

/// Says what is refused and not said yet, and takes back what no longer holds.
pub async fn tell(records: Records<'_>, client: &Client) -> Result<(), Failure> {
    let subjects = records.subjects().await?;
    for (name, Stored { revision, value: subject }) in &subjects {
        let Some(number) = place(name, &subjects).filter(|_| !is_said(subject)) else { continue };
        let mut said = subject.said.clone();
        let result = tell_of(client, number, subject, &mut said).await;
        if said != subject.said {
            // Another who writes meanwhile leaves it unsaid: the comment is found again by its mark.
            records.write_subject(name, *revision, &Subject { said, ..subject.clone() }).await?;
        }
        match result {
            Ok(()) => {}
            Err(error @ (Error::RateLimited { .. } | Error::Unreachable(_))) => {
                tracing::warn!(%error, "could not say on GitHub what is refused; it is tried again");
                return Ok(());
            }
            Err(error) => tracing::warn!(%error, subject = name.in_words(), "could not say on GitHub what is refused"),
        }
    }
    Ok(())
}

/// Where it is said: on the issue or pull request itself, for a branch on its open pull request.
fn place(name: &Name, subjects: &BTreeMap<Name, Stored<Subject>>) -> Option<u64> {
    if name.kind != GithubKind::Branch {
        return name.number();
    }
    subjects.iter().find_map(|(other, stored)| match &stored.value.known {
        Known::Pull { state, .. } if state.branch == name.name => {
            matches!(state.stage, PullStage::Open | PullStage::Queued).then(|| other.number())?
        }
        _ => None,
    })
}

fn is_said(subject: &Subject) -> bool {
    let is_told = |(place, why): (&String, &Refused)| {
        subject.said.get(place).is_some_and(|said| said.holds && said.code == why.code)
    };
    subject.refused.iter().all(is_told)
        && subject.said.iter().all(|(place, said)| !said.holds || subject.refused.contains_key(place))
}

async fn tell_of(
    client: &Client,
    number: u64,
    subject: &Subject,
    said: &mut BTreeMap<String, Said>,
) -> Result<(), Error> {
    let held_before = said.values().any(|said| said.holds);
    let mut comments = None;
    for (place, why) in &subject.refused {
        let known = said.get(place).cloned();
        if known.as_ref().is_some_and(|known| known.holds && known.code == why.code) {
            continue;
        }
        let text = text(place, &why.message);
        let comment = match known {
            Some(known) => Some(known.comment),
            None => {
                if comments.is_none() {
                    comments = Some(client.comments(number).await?);
                }
                let is_ours = |body: &Option<String>| body.as_ref().is_some_and(|body| body.starts_with(&mark(place)));
                let mut comments = comments.iter().flatten();
                comments.find(|comment| is_ours(&comment.body)).map(|comment| comment.id)
            }
        };
        let comment = match comment {
            // Somebody may have deleted it.
            Some(id) => match client.edit_comment(id, &text).await {
                Err(error) if error.is_missing() => client.create_comment(number, &text).await?.id,
                edited => edited.map(|()| id)?,
            },
            None => client.create_comment(number, &text).await?.id,
        };
        said.insert(place.clone(), Said { comment, code: why.code.clone(), holds: true });
    }
    let over: Vec<String> = said
        .iter()
        .filter(|(place, said)| said.holds && !subject.refused.contains_key(*place))
        .map(|(place, _)| place.clone())
        .collect();
    for place in over {
        let Some(known) = said.get_mut(&place) else { continue };
        let text = text(&place, "this is settled, and nothing is left to do about it");
        match client.edit_comment(known.comment, &text).await {
            Err(error) if !error.is_missing() => return Err(error),
            _ => known.holds = false,
        }
    }
    match (held_before, said.values().any(|said| said.holds)) {
        (false, true) => client.add_label(number, LABEL).await,
        (true, false) => client.remove_label(number, LABEL).await,
        _ => Ok(()),
    }
}

/// By which a comment is known again.
fn mark(place: &str) -> String {
    format!("<!-- coordinator:{} -->", &hex(&hash(place))[..MARK])
}

/// The comment. What it quotes comes from anybody, and is to be read as text: it mentions nobody and marks up nothing.
fn text(place: &str, message: &str) -> String {
    let longest = message.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(3));
    format!("{}\n**Agent Coordinator**\n\n{fence}text\n{message}\n{fence}\n", mark(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_text() {
        let text = text("lock:src", "`x` is held by @everyone\n````\n# big");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], mark("lock:src"));
        assert_eq!((lines[3], lines.last().copied()), ("`````text", Some("`````")));
    }
}
