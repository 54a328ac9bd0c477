//! What the audit trail may keep of a request: no secrets, and no novels.

use serde_json::Value;

/// Longer texts are cut, in bytes: the trail records what was asked, the records themselves hold the rest.
const TEXT_LIMIT: usize = 1024;

const SECRET_FIELDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "private_key", "access_token"];

/// How well-known credentials begin. Ours is among them.
const SECRET_PREFIXES: &[&str] = &[
    "ack_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "AIza",
    "npm_",
    "pypi-",
    "eyJ",
];

const REDACTED: &str = "[redacted]";

/// The request as the trail keeps it.
pub fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let secret = SECRET_FIELDS.contains(&name.to_lowercase().as_str());
                (name.clone(), if secret && !value.is_null() { REDACTED.into() } else { redacted(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::String(text) => Value::String(without_secrets(text)),
        other => other.clone(),
    }
}

fn without_secrets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(TEXT_LIMIT));
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let mut rest = text;
    while !rest.is_empty() && kept.len() < TEXT_LIMIT {
        let word_end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        let is_secret = word.len() >= 16 && SECRET_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        kept.push_str(if is_secret { REDACTED } else { word });
        let gap_end = after.find(is_word).unwrap_or(after.len());
        let (gap, next) = after.split_at(gap_end);
        kept.push_str(gap);
        rest = next;
    }
    if let Some((end, _)) = kept.char_indices().find(|(at, c)| at + c.len_utf8() > TEXT_LIMIT) {
        kept.truncate(end);
    } else if rest.is_empty() {
        return kept;
    }
    format!("{kept}... ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_ordinary_words_stay() {
        let request = json!({
            "description": "use ghp_0123456789abcdefghij0123 on sk-folder",
            "input_data": {"password": "x", "fencing_token": 3, "list": ["AKIAIOSFODNN7EXAMPLE"]},
        });
        assert_eq!(
            redacted(&request),
            json!({
                "description": "use [redacted] on sk-folder",
                "input_data": {"password": "[redacted]", "fencing_token": 3, "list": ["[redacted]"]},
            })
        );
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "\u{e9}".repeat(3000);
        let kept = without_secrets(&text);
        assert!(kept.len() < 1100 && kept.ends_with("... (6000 bytes)"), "{kept}");
        assert_eq!(without_secrets("short"), "short");
    }
}
