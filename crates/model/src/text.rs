//! How texts become words to be found by: one analysis for what is stored and for what is asked, whatever the database.
//!
//! A developer's text is prose, identifiers, paths and pasted errors at once. Prose is folded (lower case, English stems,
//! no stop words). Whatever is put together from parts is kept both whole and in parts: `RateQuoteExpired` gives
//! `ratequoteexpired` as `rate_quote_expired` does, and `rate`, `quote`, `expir`; `src/zones.rs:12` gives `src/zones.rs`,
//! `zones.rs`, `zone`, `rs`. The whole is rare and finds the very thing; the parts find what is said of it in words.
//!
//! The words of stored memories are in the database's index: a change of this analysis needs a migration that makes the
//! index anew.

use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

/// Longer words, in bytes, are no words: hashes, encoded keys.
const WORD_LIMIT: usize = 80;

/// What is in nearly every sentence and says nothing of what it is about. Sorted.
const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "didn", "do", "does", "doesn", "doing", "don", "for", "from", "get", "got", "had", "has", "have",
    "how", "if", "in", "into", "is", "isn", "it", "its", "just", "know", "let", "ll", "me", "my", "not", "of", "on",
    "or", "our", "re", "should", "so", "some", "such", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "us", "ve", "was", "wasn", "we", "were", "what", "when", "where", "which", "while",
    "who", "why", "will", "with", "would", "you", "your",
];

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// The words of a text in their order, repetitions included.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let text: String = text.nfkc().collect();
    for chunk in text.split(|c: char| !(c.is_alphanumeric() || is_joint(c))) {
        token(without_position(chunk.trim_matches(is_joint)), &mut words);
    }
    words
}

/// May it stand inside an identifier, a path, an address or a version?
fn is_joint(c: char) -> bool {
    matches!(c, '/' | '\\' | '.' | ':' | '@' | '#' | '_' | '-')
}

/// Without the line and column behind a file's name: they change with every edit. A host keeps its port.
fn without_position(mut chunk: &str) -> &str {
    while let Some((before, after)) = chunk.rsplit_once(':')
        && (is_file(before) || before.rsplit_once(':').is_some_and(|(file, _)| is_file(file)))
        && !after.is_empty()
        && after.bytes().all(|b| b.is_ascii_digit())
    {
        chunk = before;
    }
    chunk
}

/// Does it end with an extension?
fn is_file(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    (1..=4).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphabetic())
}

/// The words of what stands between two blanks: the whole, and then its parts.
fn token(token: &str, words: &mut Vec<String>) {
    for joints in [&['/', '\\'][..], &['.', ':', '@', '#'][..]] {
        if token.contains(joints) {
            push(token.to_lowercase().replace('\\', "/"), words);
            for part in token.split(joints) {
                self::token(part, words);
            }
            return;
        }
    }
    let parts = parts(token);
    if parts.len() > 1 {
        push(parts.concat().to_lowercase(), words);
    }
    for part in parts {
        word(&part.to_lowercase(), words);
    }
}

/// The parts of an identifier, whichever way they are joined: `labelPrinter`, `label_printer`, `label-printer`.
fn parts(identifier: &str) -> Vec<&str> {
    let mut parts = vec![];
    for piece in identifier.split(['_', '-']).filter(|piece| !piece.is_empty()) {
        let mut start = 0;
        let chars: Vec<(usize, char)> = piece.char_indices().collect();
        for at in 1..chars.len() {
            let (before, here, after) = (chars[at - 1].1, chars[at].1, chars.get(at + 1).map(|c| c.1));
            let begins = here.is_uppercase()
                && (before.is_lowercase() || after.is_some_and(char::is_lowercase) && before.is_alphanumeric());
            if begins {
                parts.push(&piece[start..chars[at].0]);
                start = chars[at].0;
            }
        }
        parts.push(&piece[start..]);
    }
    parts
}

/// One plain word, folded.
fn word(word: &str, words: &mut Vec<String>) {
    let is_letter = word.chars().nth(1).is_none() && !word.starts_with(|c: char| c.is_numeric());
    if is_letter || STOP_WORDS.binary_search(&word).is_ok() {
        return;
    }
    if word.bytes().all(|b| b.is_ascii_lowercase()) {
        push(STEMMER.stem(word).into_owned(), words);
    } else {
        push(word.to_owned(), words);
    }
}

fn push(word: String, words: &mut Vec<String>) {
    if word.len() <= WORD_LIMIT {
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(words(text).join(" "), expected, "{text:?}");
    }

    #[test]
    fn prose_is_folded() {
        check("Why does the Printer's queue keep retrying?", "printer queue keep retri");
        check("retries, retried - RETRY", "retri retri retri");
        check("it doesn't (and won't) work!", "won work");
        check("\u{ff30}\u{ff4f}\u{ff4f}\u{ff4c} \u{fb01}le caf\u{e9}", "pool file caf\u{e9}");
        check("", "");
        check("... -- // ::", "");
    }

    #[test]
    fn identifiers_are_kept_whole_and_in_parts() {
        for text in
            ["RateQuoteExpired", "rateQuoteExpired", "rate_quote_expired", "RATE_QUOTE_EXPIRED", "rate-quote-expired"]
        {
            check(text, "ratequoteexpired rate quot expir");
        }
        check("HTTPServer", "httpserver http server");
        check("S3Client E0382 p95 ipv4", "s3client s3 client e0382 p95 ipv4");
        check("__init__", "init");
        check("std::io::Error", "std::io::error std io error");
        check("v1.12.3 on 10.0.0.1", "v1.12.3 v1 12 3 10.0.0.1 10 0 0 1");
    }

    #[test]
    fn paths_are_kept_whole_and_in_parts() {
        for text in
            ["src/zones.rs", "(src/zones.rs:12:5)", "`src\\zones.rs`,", "\"src/zones.rs:12\":", "./src/zones.rs"]
        {
            check(text, "src/zones.rs src zones.rs zone rs");
        }
        check("db:5432", "db:5432 db 5432");
        check("12:30", "12:30 12 30");
    }

    #[test]
    fn what_is_no_word_is_left_out() {
        check(&"f0".repeat(60), "");
        check("a/b x y 7", "a/b 7");
        assert!(STOP_WORDS.is_sorted());
    }
}
