//! A change as people read it.

use similar::TextDiff;

/// A unified diff with these names for the two sides; empty for no change. What is no text is shown as well as it can be.
pub fn unified(old_name: &str, new_name: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> String {
    if before == after {
        return String::new();
    }
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let name = |name: &str, side: Option<&[u8]>| if side.is_some() { name.to_owned() } else { "/dev/null".to_owned() };
    let (old, new) = (text(before), text(after));
    let diff = TextDiff::from_lines(&old, &new);
    diff.unified_diff().context_radius(3).header(&name(old_name, before), &name(new_name, after)).to_string()
}
