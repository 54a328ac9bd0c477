//! Words, strings and signs of SQL, whatever the dialect.

use std::ops::Range;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    kind: Kind,
    /// Where it stands.
    pub span: Range<usize>,
    /// Is it the first on its line?
    pub starts_line: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// In lower case.
    Word(String),
    Name(String),
    Text(String),
    Number(String),
    Sign(char),
}

impl Token {
    /// A word in lower case; nothing for anything else.
    pub fn word(&self) -> &str {
        if let Kind::Word(word) = &self.kind { word } else { "" }
    }

    /// A string's content.
    pub fn string(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind { Some(text) } else { None }
    }

    /// A number.
    pub fn number(&self) -> Option<f64> {
        if let Kind::Number(number) = &self.kind { number.parse().ok() } else { None }
    }

    /// Its characters, without quotes.
    pub fn text(&self) -> &str {
        match &self.kind {
            Kind::Word(text) | Kind::Name(text) | Kind::Text(text) | Kind::Number(text) => text,
            Kind::Sign(_) => "",
        }
    }

    /// A sign.
    pub fn punctuation(&self) -> Option<char> {
        if let Kind::Sign(sign) = self.kind { Some(sign) } else { None }
    }

    /// Is it this sign?
    pub fn is(&self, sign: &str) -> bool {
        self.punctuation().is_some_and(|c| sign.starts_with(c))
    }

    /// Can it name something?
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word(_) | Kind::Name(_))
    }
}

/// Reads all tokens. Comments are passed, but for those that MySQL executes.
pub fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens: Vec<Token> = vec![];
    let mut starts_line = true;
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let start = at;
        let kind = match byte {
            b'\n' => {
                starts_line = true;
                at += 1;
                continue;
            }
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += line_len(&bytes[at..]);
                continue;
            }
            // MySQL's other comment; SQL Server's temporary tables begin with it.
            b'#' if !bytes.get(at + 1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'#') => {
                at += line_len(&bytes[at..]);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                if matches!(bytes.get(at + 2), Some(b'!')) || bytes[at..].starts_with(b"/*M!") {
                    at += 3 + usize::from(bytes[at + 2] == b'M');
                    at += bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                } else {
                    at += bytes[at + 2..].windows(2).position(|pair| pair == b"*/").map_or(bytes.len() - at, |n| n + 4);
                }
                continue;
            }
            b'*' if bytes.get(at + 1) == Some(&b'/') => {
                at += 2;
                continue;
            }
            b'\'' => Kind::Text(quoted(text, &mut at, b'\'', true)),
            b'"' => Kind::Name(quoted(text, &mut at, b'"', false)),
            b'`' => Kind::Name(quoted(text, &mut at, b'`', false)),
            b'[' => Kind::Name(quoted(text, &mut at, b']', false)),
            b'$' => match dollar(text, &mut at) {
                Some(content) => Kind::Text(content),
                None => {
                    at += 1;
                    Kind::Sign('$')
                }
            },
            b if b.is_ascii_digit() => {
                at += bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.').count();
                Kind::Number(text.get(start..at).unwrap_or_default().to_owned())
            }
            b if b.is_ascii_alphabetic() || b == b'_' || b == b'#' || b == b'@' || b >= 0x80 => {
                at += bytes[at..]
                    .iter()
                    .take_while(|b| {
                        b.is_ascii_alphanumeric() || matches!(**b, b'_' | b'#' | b'@' | b'$' | b'.') || **b >= 0x80
                    })
                    .count();
                let word = text.get(start..at).unwrap_or_default();
                // N'...' and E'...' are strings.
                if word.len() == 1 && bytes.get(at) == Some(&b'\'') && matches!(byte, b'N' | b'n' | b'E' | b'e') {
                    Kind::Text(quoted(text, &mut at, b'\'', true))
                } else {
                    Kind::Word(word.to_ascii_lowercase())
                }
            }
            other => {
                at += 1;
                Kind::Sign(char::from(other))
            }
        };
        tokens.push(Token { kind, span: start..at, starts_line: std::mem::take(&mut starts_line) });
    }
    tokens
}

fn line_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len())
}

/// What stands between quotes; a doubled quote is one, and in strings a backslash escapes.
fn quoted(text: &str, at: &mut usize, close: u8, escapes: bool) -> String {
    let bytes = text.as_bytes();
    let start = *at + 1;
    let mut content = String::new();
    let mut copied = start;
    let mut n = start;
    while let Some(byte) = bytes.get(n) {
        if *byte == close {
            if bytes.get(n + 1) == Some(&close) {
                content.push_str(text.get(copied..=n).unwrap_or_default());
                n += 2;
                copied = n;
                continue;
            }
            break;
        }
        // A backslash before the closing quote escapes it in some dialects only: take it so where another quote follows.
        let escaped = escapes && *byte == b'\\' && bytes.get(n + 1) == Some(&close) && bytes[n + 2..].contains(&close);
        n += if escaped { 2 } else { 1 };
    }
    content.push_str(text.get(copied..n.min(text.len())).unwrap_or_default());
    *at = (n + 1).min(text.len());
    content
}

/// `$tag$ ... $tag$`.
fn dollar(text: &str, at: &mut usize) -> Option<String> {
    let rest = &text[*at + 1..];
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    if !rest[len..].starts_with('$') || len > 32 {
        return None;
    }
    let tag = &text[*at..*at + len + 2];
    let start = *at + tag.len();
    let len = text[start..].find(tag).unwrap_or(text.len() - start);
    *at = (start + len + tag.len()).min(text.len());
    Some(text[start..start + len].to_owned())
}
