//! A file's text with what an editor must not lose: its byte order mark and its kind of line ends.

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    has_mark: bool,
    /// What follows the byte order mark, with its line ends as they are.
    pub body: String,
}

impl Text {
    /// The text in these bytes; `None` when they are no UTF-8.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(body) => Self { has_mark: true, body: body.to_owned() },
            None => Self { has_mark: false, body: text.to_owned() },
        })
    }

    /// The bytes of this text with another body.
    pub fn with_body(&self, body: &str) -> Vec<u8> {
        let mark = if self.has_mark { BYTE_ORDER_MARK } else { "" };
        [mark, body].concat().into_bytes()
    }
}

/// What ends a line in this text: `\r\n` where most of its lines end so.
pub fn line_end(body: &str) -> &'static str {
    let all = body.matches('\n').count();
    let with_return = body.matches("\r\n").count();
    if with_return * 2 > all { "\r\n" } else { "\n" }
}

/// The lines, written with this text's kind of line ends.
pub fn in_the_manner_of(body: &str, lines: &str) -> String {
    lines.replace('\n', line_end(body))
}

/// What parts lines that are appended from the text above them: an empty line.
pub fn gap(body: &str) -> String {
    let end = line_end(body);
    match body {
        "" => String::new(),
        text if text.ends_with('\n') => end.to_owned(),
        _ => end.repeat(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_and_line_ends_survive() {
        let text = Text::read("\u{feff}a\r\nb\r\n".as_bytes()).unwrap();
        assert_eq!(text.body, "a\r\nb\r\n");
        assert_eq!(text.with_body("c"), "\u{feff}c".as_bytes());
        assert_eq!((line_end("a\r\nb\r\nc\n"), line_end("a\n"), line_end("")), ("\r\n", "\n", "\n"));
        assert_eq!(Text::read(&[0xff, 0xfe]), None);
    }
}
