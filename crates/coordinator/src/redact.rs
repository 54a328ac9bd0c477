//! What may be kept of a request: no secrets; and in the audit trail, no novels.
//!
//! A secret is known by the name of what holds it (`DB_PASSWORD=...`, `"apiKey": "..."`, `--token ...`), by its own looks
//! (a well-known token, a private key), or by where it stands (`Bearer ...`, the password in an address). Each text is read
//! once from left to right.

use std::ops::Range;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::failure::FieldError;

/// Longer texts are cut, in bytes: the trail records what was asked, the records themselves hold the rest.
const TEXT_LIMIT: usize = 1024;

const REDACTED: &str = "[redacted]";

/// What is told of a name that is a secret.
pub const SECRET_AS_NAME: &str = "looks like a credential, and names are shown to everybody: choose another";

/// Fields whose texts name things: to redact these would mix things up.
const NAMES: &[&str] = &[
    "agent_id",
    "agent_name",
    "agent_type",
    "assignee",
    "capabilities",
    "capability",
    "cursor",
    "feature_id",
    "file_path",
    "file_paths",
    "idempotency_key",
    "operation",
    "required_capability",
    "session_id",
];

/// Fields that programs act on as they are: what is stored of them is what was sent, byte by byte, and only the trail is
/// without secrets.
const PAYLOADS: &[&str] = &["input_data", "operation_text", "resource", "result"];

/// A name that holds one of these is that of a password, whatever the value looks like.
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase"];
/// A name that holds one of these is that of a secret, if the value may be one.
const SECRETS: &[&str] = &[
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "private_key",
    "privatekey",
    "access_key",
    "accesskey",
    "account_key",
    "accountkey",
    "encryption_key",
    "authorization",
    "credential",
];
/// How the name of a variable of the environment ends that holds a secret.
const VARIABLES: &[&str] = &["KEY", "TOKEN", "PASS", "PWD", "PAT", "AUTH", "SALT", "CREDENTIALS"];

/// How well-known tokens begin, and how long a run of letters and digits they have at least. Ours is among them.
const TOKENS: &[(&str, usize)] = &[
    ("ack_", 32),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghs_", 16),
    ("ghu_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 10),
    ("sk-", 16),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xapp-", 10),
    ("AIza", 16),
    ("npm_", 30),
    ("pypi-", 16),
    ("hf_", 20),
    ("gsk_", 20),
    ("xai-", 20),
    ("SG.", 16),
    ("ya29.", 10),
    ("shpat_", 16),
    ("dop_v1_", 32),
];

/// What an assignment that only looks like one gives: a type, or nothing.
const NO_VALUES: &[&str] =
    &["null", "none", "nil", "true", "false", "undefined", "string", "str", "&str", "text", "bytes"];
/// Words between `Authorization:` and the secret.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "digest"];

/// The request as the trail keeps it: how it is written there.
pub struct Redacted<'a>(pub &'a Value);

impl Serialize for Redacted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut kept = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    let shown = within(name, TEXT_LIMIT);
                    if is_secret(name, value) {
                        kept.serialize_entry(&shown, REDACTED)?;
                    } else {
                        kept.serialize_entry(&shown, &Redacted(value))?;
                    }
                }
                kept.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Redacted)),
            Value::String(text) => serializer.serialize_str(&without_secrets(text)),
            other => other.serialize(serializer),
        }
    }
}

/// A value as a record keeps it: all of it but the secrets.
pub fn kept_value(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (kept(name), if is_secret(name, value) { REDACTED.into() } else { kept_value(value) }))
            .collect(),
        Value::Array(items) => items.iter().map(kept_value).collect(),
        Value::String(text) => Value::String(kept(text)),
        other => other.clone(),
    }
}

/// A text as a record keeps it: all of it but the secrets.
pub fn kept(text: &str) -> String {
    within(text, usize::MAX)
}

/// The text without secrets, at most [`TEXT_LIMIT`] bytes of it, give or take the note that it was cut.
pub fn without_secrets(text: &str) -> String {
    within(text, TEXT_LIMIT)
}

/// Is there a secret in the text?
pub fn holds_secret(text: &str) -> bool {
    kept(text) != text
}

/// Takes the secrets out of a request, before anything is done with it: nothing that is stored, told or logged can hold
/// them then. Answers in which fields there were some.
///
/// # Errors
/// The fields that name things and hold secrets.
pub fn take_secrets(arguments: &mut Value) -> Result<Vec<String>, Vec<FieldError>> {
    let (mut fields, mut errors) = (vec![], vec![]);
    let payload = |name: &str| PAYLOADS.contains(&name);
    for (name, value) in arguments.as_object_mut().into_iter().flatten().filter(|(name, _)| !payload(name)) {
        let clean = kept_value(value);
        if clean == *value {
            continue;
        }
        if NAMES.contains(&name.as_str()) {
            errors.push(FieldError { field: name.clone(), message: SECRET_AS_NAME.into() });
        } else {
            *value = clean;
            fields.push(name.clone());
        }
    }
    if errors.is_empty() { Ok(fields) } else { Err(errors) }
}

/// How surely a name is that of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sure {
    Password,
    Secret,
}

fn is_secret(name: &str, value: &Value) -> bool {
    // A number of tokens is none of them; a flag tells nothing either.
    !matches!(value, Value::Null | Value::Bool(_)) && *value != REDACTED && names_a_secret(name).is_some()
}

fn names_a_secret(name: &str) -> Option<Sure> {
    let lower = name.to_lowercase();
    if PASSWORDS.iter().any(|word| lower.contains(word)) {
        return Some(Sure::Password);
    }
    let is_token = lower.ends_with("token") && !lower.contains("fencing");
    let is_variable = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && name.rsplit_once('_').is_some_and(|(_, end)| VARIABLES.contains(&end))
        && !name.contains("PUBLIC");
    (is_token || is_variable || SECRETS.iter().any(|word| lower.contains(word))).then_some(Sure::Secret)
}

/// Does it look like a well-known token?
fn is_token(word: &str) -> bool {
    let word = word.trim_start_matches(['-', '_', '.']);
    if let Some(body) = word.strip_prefix("AKIA").or_else(|| word.strip_prefix("ASIA")) {
        let run = body.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
        return run == 16 && body.as_bytes().get(run).is_none_or(|b| !b.is_ascii_alphanumeric());
    }
    if let Some(body) = word.strip_prefix("eyJ") {
        return body.len() >= 17 && (body.contains('.') || body.len() >= 40);
    }
    TOKENS.iter().any(|(prefix, least)| {
        let looks_like_one =
            |run: &str| run.len() >= *least && (run.len() >= 20 || run.bytes().any(|b| b.is_ascii_digit()));
        // Most words are too short to be compared at all.
        word.len() >= prefix.len() + least
            && word
                .strip_prefix(prefix)
                .is_some_and(|body| body.split(|c: char| !c.is_ascii_alphanumeric()).any(looks_like_one))
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// The text without what is, or is called, a credential.
fn within(text: &str, limit: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(limit));
    let (mut rest, mut last_word) = (text, "");
    while !rest.is_empty() && kept.len() < limit {
        let word_end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        if let Some(end) = private_key(word, after) {
            kept.push_str(REDACTED);
            (rest, last_word) = (&after[end..], "");
            continue;
        }
        let is_bearer = word.len() >= 8 && last_word.eq_ignore_ascii_case("bearer");
        kept.push_str(if is_token(word) || is_bearer { REDACTED } else { word });
        if let Some(value) = assigned(word, after) {
            kept.push_str(&after[..value.start]);
            kept.push_str(REDACTED);
            (rest, last_word) = (&after[value.end..], "");
            continue;
        }
        let gap_end = after.find(is_word).unwrap_or(after.len());
        let (gap, next) = after.split_at(gap_end);
        kept.push_str(gap);
        (rest, last_word) = (next, word);
        if gap.ends_with("://")
            && let Some((user, password_end)) = credentials(rest)
        {
            kept.push_str(user);
            kept.push(':');
            kept.push_str(REDACTED);
            rest = &rest[password_end..];
        }
    }
    if let Some((end, _)) = kept.char_indices().find(|(at, c)| at + c.len_utf8() > limit) {
        kept.truncate(end);
    } else if rest.is_empty() {
        return kept;
    }
    format!("{kept}... ({} bytes)", text.len())
}

/// Where behind the word a private key in PEM ends that begins with it.
fn private_key(word: &str, after: &str) -> Option<usize> {
    const BEGIN: &str = "-----BEGIN";
    const END: &str = "-----END";
    if !word.ends_with(BEGIN) {
        return None;
    }
    let label_end = after.find("-----")?;
    if label_end > 64 || !after[..label_end].contains("PRIVATE KEY") {
        return None;
    }
    let Some(end) = after.find(END) else { return Some(after.len()) };
    let tail = &after[end + END.len()..];
    Some(tail.find("-----").map_or(after.len(), |dashes| end + END.len() + dashes + "-----".len()))
}

/// Where behind the name the secret is that is assigned to it.
fn assigned(name: &str, after: &str) -> Option<Range<usize>> {
    let unquoted = after.strip_prefix("\\\"").or_else(|| after.strip_prefix(['"', '\'', '`'])).unwrap_or(after);
    let separator = unquoted.trim_start_matches([' ', '\t']);
    let is_option = name.starts_with("--") && separator.len() < unquoted.len();
    let value = match separator.as_bytes() {
        [b'=', b'=', ..] | [b':', b':' | b'/', ..] => return None,
        [b'=', b'>', ..] | [b':', b'=', ..] => &separator[2..],
        [b'=' | b':', ..] => &separator[1..],
        _ if is_option => separator,
        _ => return None,
    };
    let sure = names_a_secret(name)?;
    let is_colon = separator.starts_with(':');
    let mut value = value.trim_start_matches([' ', '\t']);
    let first = head(value).split(char::is_whitespace).next().unwrap_or_default();
    let has_scheme = SCHEMES.iter().any(|scheme| first.eq_ignore_ascii_case(scheme));
    if has_scheme {
        value = value[first.len()..].trim_start_matches([' ', '\t']);
    }
    let quote = ["\\\"", "\"", "'", "`"].into_iter().find(|quote| value.starts_with(quote));
    let inside = &value[quote.map_or(0, str::len)..];
    let end = |text: &str| match quote {
        Some(quote) => text.find(quote).unwrap_or(text.len()),
        None => text.find(|c: char| c.is_whitespace() || ",;&)]}\"'`<".contains(c)).unwrap_or(text.len()),
    };
    let text = &head(inside)[..end(head(inside))];
    let is_reference = text.starts_with(['$', '%', '<']) || text.starts_with("{{") || text.starts_with("[redacted");
    let is_call =
        quote.is_none() && text.find('(').is_some_and(|at| text[..at].chars().all(|c| is_word(c) || c == ':'));
    let is_nothing = text.is_empty() || quote.is_none() && NO_VALUES.iter().any(|no| text.eq_ignore_ascii_case(no));
    let is_likely = match sure {
        Sure::Password => true,
        // In prose, much is said of tokens and secrets.
        Sure::Secret if is_colon && quote.is_none() && !has_scheme => {
            text.len() >= 8 && text.bytes().any(|b| b.is_ascii_digit())
        }
        Sure::Secret => text.len() >= 6,
    };
    let start = after.len() - inside.len();
    (is_likely && !is_reference && !is_call && !is_nothing).then(|| start..start + end(inside))
}

/// As much of a text as tells what it is: to look at all of it each time would take too long.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}

/// `user:password@` at the beginning of an address: the user, and where the password ends.
fn credentials(address: &str) -> Option<(&str, usize)> {
    let authority_end = address.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(address.len());
    let password_end = address[..authority_end].rfind('@')?;
    let (user, password) = address[..password_end].split_once(':')?;
    (password != REDACTED && !password.starts_with('$')).then_some((user, password_end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_ordinary_words_stay() {
        let request = json!({
            "description": "use ghp_0123456789abcdefghij0123 on sk-folder",
            "input_data": {"DB_PASSWORD": "x", "fencing_token": 3, "list": ["AKIAIOSFODNN7EXAMPLE"]},
            "url": "see postgres://me:hunter2@db/x and http://localhost:80/",
            "header": "Authorization: Bearer abcdefgh1",
        });
        assert_eq!(
            serde_json::to_value(Redacted(&request)).unwrap(),
            json!({
                "description": "use [redacted] on sk-folder",
                "input_data": {"DB_PASSWORD": "[redacted]", "fencing_token": 3, "list": ["[redacted]"]},
                "url": "see postgres://me:[redacted]@db/x and http://localhost:80/",
                "header": "Authorization: Bearer [redacted]",
            })
        );
    }

    #[test]
    fn a_secret_is_known_by_its_name_its_looks_or_its_place() {
        for (text, expected) in [
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted]"),
            ("export STRIPE_KEY='abc def'\nPORT=80", "export STRIPE_KEY='[redacted]'\nPORT=80"),
            ("password: swordfish, and more", "password: [redacted], and more"),
            (r#"{"clientSecret": "s3cret!", "n": 1}"#, r#"{"clientSecret": "[redacted]", "n": 1}"#),
            (r#"{\"token\":\"abcdef\"}"#, r#"{\"token\":\"[redacted]\"}"#),
            ("mysql --password hunter2 -u me", "mysql --password [redacted] -u me"),
            ("GET /x?access_token=abcdefg&b=1", "GET /x?access_token=[redacted]&b=1"),
            ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"),
            ("aws_secret_access_key = wJalr/XUtnFEMI+K7MDENG", "aws_secret_access_key = [redacted]"),
            ("AKIAIOSFODNN7EXAMPLE.", "[redacted]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b", "a [redacted] b"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
            ("postgres://u:p@h/d", "postgres://u:[redacted]@h/d"),
            ("sk-proj-0123456789abcdefghij", "[redacted]"),
        ] {
            assert_eq!(kept(text), expected);
            assert_eq!(kept(expected), expected, "what is redacted stays so");
        }
    }

    #[test]
    fn ordinary_texts_stay() {
        for text in [
            "the password is checked; the token: 17 is old",
            "fencing_token=123456789",
            "fn password(password: String) -> Secret::Password { password == other }",
            "let token = next_token(); secret = $SECRET; password=${PW} password=<yours>",
            "sk-learn-pipeline-tests-2024/README.md npm_package_json_version ASIA-pacific.md",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "src/secrets.rs:12:5 token.rs:3 keys: a, b",
            "commit 0123456789abcdef0123456789abcdef01234567 in 00000000-0000-7000-8000-000000000000",
            "http://localhost:8081/ and mailto:a@b",
            "credentials: include, authorization: none",
        ] {
            assert_eq!(kept(text), text);
        }
    }

    #[test]
    fn a_name_that_is_a_secret_is_refused_and_a_text_is_cleaned() {
        let secret = "ghp_0123456789abcdefghij0123";
        let mut request = json!({"file_path": secret, "reason": "r"});
        assert_eq!(take_secrets(&mut request).unwrap_err()[0].field, "file_path");
        let mut request = json!({"file_path": "a", "reason": format!("with {secret}"), "n": [1]});
        assert_eq!(take_secrets(&mut request).unwrap(), ["reason"]);
        assert_eq!(request, json!({"file_path": "a", "reason": "with [redacted]", "n": [1]}));
    }

    /// A megabyte of what is hardest to read takes no longer than one of anything else.
    #[test]
    fn every_text_is_read_in_linear_time() {
        for part in
            ["-----BEGIN ", "-----BEGIN PRIVATE KEY----- ", "password=", "password=\"", "a://", "a://b:", "eyJ", "\\\""]
        {
            let start = std::time::Instant::now();
            kept(&part.repeat(1_000_000 / part.len()));
            assert!(start.elapsed().as_secs() < 5, "{part}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "\u{e9}".repeat(3000);
        let kept = without_secrets(&text);
        assert!(kept.len() < 1100 && kept.ends_with("... (6000 bytes)"), "{kept}");
        assert_eq!(without_secrets("short"), "short");
        assert_eq!(super::kept(&text), text);
        assert_eq!(kept_value(&json!([text])), json!([text]));
    }
}
