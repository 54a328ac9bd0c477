//! Lines of ours between markers, in a file that people and agents read.

use crate::text::{gap, in_the_manner_of};

/// The line above ours.
pub const BEGIN: &str =
    "<!-- coordinator: begin (written by `coordinator init`, taken out by `coordinator init --undo`) -->";
/// How any version's first line begins.
const BEGINS: &str = "<!-- coordinator: begin";
/// The line below ours.
pub const END: &str = "<!-- coordinator: end -->";

/// The text with our lines in it: in place of those of another version, or at its end.
///
/// # Errors
/// A sentence, when one marker is there without the other.
pub fn put(body: &str, lines: &str) -> Result<String, String> {
    let block = in_the_manner_of(body, &format!("{BEGIN}\n{}\n{END}\n", lines.trim_end()));
    Ok(match find(body)? {
        Some((start, end)) => {
            // The last line of a file may lack its end, and then still does.
            let block = if body[start..end].ends_with('\n') { &block[..] } else { block.trim_end() };
            [&body[..start], block, &body[end..]].concat()
        }
        None => format!("{body}{}{block}", gap(body)),
    })
}

/// The text without our lines, or with those that were there before.
///
/// # Errors
/// A sentence, when one marker is there without the other.
pub fn take(body: &str, before: Option<&str>) -> Result<String, String> {
    let Some((start, end)) = find(body)? else { return Ok(body.to_owned()) };
    let before = before.unwrap_or_default();
    if let Some((old_start, old_end)) = find(before)? {
        return Ok([&body[..start], &before[old_start..old_end], &body[end..]].concat());
    }
    let gap = gap(before);
    let above = body[..start].strip_suffix(&gap).unwrap_or(&body[..start]);
    Ok([above, &body[end..]].concat())
}

/// Where our lines are, markers and line ends included.
fn find(body: &str) -> Result<Option<(usize, usize)>, String> {
    let wrong = "it has one of the coordinator's two markers, `<!-- coordinator: begin` and `<!-- coordinator: end -->`, \
                 without the other; put it back, or take it out";
    match (body.find(BEGINS), body.find(END)) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) if start < end => {
            let end = end + END.len();
            let line_end = ["\r\n", "\n"].into_iter().find(|line_end| body[end..].starts_with(line_end));
            Ok(Some((start, end + line_end.map_or(0, str::len))))
        }
        _ => Err(wrong.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_and_go_and_leave_the_rest() {
        for before in ["", "# Mine\n", "# Mine", "# Mine\r\n\r\ntext\r\n", "\n\n"] {
            let with = put(before, "ours").unwrap();
            assert!(with.contains("ours") && with.starts_with(before), "{with:?}");
            assert_eq!(put(&with, "ours").unwrap(), with);
            assert_eq!(take(&with, Some(before)).unwrap(), before);
            let newer = put(&with, "newer").unwrap();
            assert!(newer.contains("newer") && !newer.contains("ours"), "{newer:?}");
        }
        let edited = format!("{}theirs\n", put("# Mine\n", "ours").unwrap());
        assert_eq!(take(&edited, Some("# Mine\n")).unwrap(), "# Mine\ntheirs\n");
    }

    #[test]
    fn a_lone_marker_is_not_guessed_at() {
        assert!(put(END, "ours").is_err());
        assert!(take(&format!("{END}\n{BEGIN}\n"), None).is_err());
    }
}
