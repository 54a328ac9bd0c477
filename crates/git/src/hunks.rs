//! In which lines two sides of a conflict meet.

use crate::merge::{Merge, Side, Unmerged};
use crate::run::{Error, text};
use crate::{Git, ObjectId};

/// Lines of a file, the first one being 1. With `count` 0 it is the place behind line `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// The first line.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl Lines {
    /// `12-14`, `12`, or `after 12`.
    pub fn in_words(self) -> String {
        match self.count {
            0 => format!("after {}", self.start),
            1 => self.start.to_string(),
            count => format!("{}-{}", self.start, self.start + count - 1),
        }
    }
}

/// A place where both sides changed what the other changed, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The file.
    pub path: String,
    /// The lines as they are on our side.
    pub ours: Lines,
    /// The lines as they are on their side.
    pub theirs: Lines,
}

/// One change of a file, as `git diff` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hunk {
    before: Lines,
    after: Lines,
    added: Vec<String>,
}

impl Hunk {
    /// From where to where in the old file, as places between lines.
    fn span(&self) -> (u32, u32) {
        match self.before.count {
            0 => (self.before.start, self.before.start),
            count => (self.before.start - 1, self.before.start - 1 + count),
        }
    }

    /// Git does not merge changes that touch either.
    fn touches(&self, other: &Self) -> bool {
        let ((from, to), (other_from, other_to)) = (self.span(), other.span());
        from <= other_to && other_from <= to
    }

    fn is_same(&self, other: &Self) -> bool {
        self.before == other.before && self.added == other.added
    }
}

impl Git {
    /// Where the sides of these conflicts meet, in the first so many files that all three have.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn meetings(&self, merge: &Merge, files: usize) -> Result<Vec<Meeting>, Error> {
        let Merge::Conflicted { unmerged, .. } = merge else { return Ok(vec![]) };
        let mut meetings = vec![];
        for [base, ours, theirs] in in_three_versions(unmerged).into_iter().take(files) {
            let (ours_changed, theirs_changed) = (self.hunks(&base.id, &ours.id)?, self.hunks(&base.id, &theirs.id)?);
            meetings.extend(meet(&base.path, &ours_changed, &theirs_changed));
        }
        Ok(meetings)
    }

    fn hunks(&self, from: &ObjectId, to: &ObjectId) -> Result<Vec<Hunk>, Error> {
        let arguments = ["diff", "-U0", "--inter-hunk-context=0", "--no-color", "--no-ext-diff", "--no-textconv"];
        let said = self.output(&[&arguments[..], &[from.as_str(), to.as_str()]].concat())?;
        Ok(read_hunks(&text(&said)))
    }
}

/// The plain files that are there in all three versions.
fn in_three_versions(unmerged: &[Unmerged]) -> Vec<[&Unmerged; 3]> {
    let version = |path: &str, side| {
        unmerged.iter().find(|file| file.path == path && file.side == side && file.mode.starts_with("100"))
    };
    let bases = unmerged.iter().filter(|file| file.side == Side::Base);
    bases
        .filter_map(|base| {
            let path = &base.path;
            Some([version(path, Side::Base)?, version(path, Side::Ours)?, version(path, Side::Theirs)?])
        })
        .collect()
}

fn meet<'a>(path: &'a str, ours: &'a [Hunk], theirs: &'a [Hunk]) -> impl Iterator<Item = Meeting> + 'a {
    ours.iter().flat_map(move |our| {
        let touching = theirs.iter().filter(move |their| our.touches(their) && !our.is_same(their));
        touching.map(move |their| Meeting { path: path.to_owned(), ours: our.after, theirs: their.after })
    })
}

fn read_hunks(diff: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = vec![];
    for line in diff.split('\n') {
        if let Some((before, after)) = header(line) {
            hunks.push(Hunk { before, after, added: vec![] });
        } else if let (Some(hunk), Some(added)) = (hunks.last_mut(), line.strip_prefix('+')) {
            hunk.added.push(added.to_owned());
        }
    }
    hunks
}

/// `@@ -3,2 +4 @@ more`.
fn header(line: &str) -> Option<(Lines, Lines)> {
    let mut fields = line.strip_prefix("@@ ")?.split(' ');
    let lines = |field: &str, sign: char| {
        let field = field.strip_prefix(sign)?;
        let (start, count) = field.split_once(',').unwrap_or((field, "1"));
        Some(Lines { start: start.parse().ok()?, count: count.parse().ok()? })
    };
    Some((lines(fields.next()?, '-')?, lines(fields.next()?, '+')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(before: (u32, u32), after: (u32, u32), added: &[&str]) -> Hunk {
        let lines = |(start, count)| Lines { start, count };
        let added = added.iter().map(ToString::to_string).collect();
        Hunk { before: lines(before), after: lines(after), added }
    }

    #[test]
    fn changes_are_read_from_a_diff() {
        let diff = "diff --git a/1 b/2\nindex 1..2 100644\n--- a/1\n+++ b/2\n@@ -3,2 +4 @@ fn a()\n-x\n-y\n+++z\n\
                    @@ -9,0 +10,2 @@\n+1\n+2\n";
        assert_eq!(read_hunks(diff), [hunk((3, 2), (4, 1), &["++z"]), hunk((9, 0), (10, 2), &["1", "2"])]);
        assert_eq!(read_hunks("Binary files a and b differ\n"), []);
    }

    #[test]
    fn only_what_meets_is_told() {
        let ours = [hunk((2, 1), (2, 3), &["a"]), hunk((20, 2), (22, 2), &["b"]), hunk((40, 1), (42, 1), &["same"])];
        let theirs =
            [hunk((10, 1), (10, 1), &["c"]), hunk((21, 4), (21, 4), &["d"]), hunk((40, 1), (40, 1), &["same"])];
        let met: Vec<_> = meet("f", &ours, &theirs).map(|m| (m.ours.in_words(), m.theirs.in_words())).collect();
        assert_eq!(met, [("22-23".to_owned(), "21-24".to_owned())]);
    }

    #[test]
    fn changes_that_touch_meet() {
        let (first, behind, after_a_gap) =
            (hunk((2, 1), (2, 1), &["a"]), hunk((2, 0), (3, 1), &["b"]), hunk((3, 0), (4, 1), &["c"]));
        assert!(first.touches(&behind) && behind.touches(&first));
        assert!(!first.touches(&after_a_gap));
    }
}
