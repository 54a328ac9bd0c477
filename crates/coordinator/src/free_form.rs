//! A handoff in whatever form an agent gave it: what can be told apart goes to the lists, nothing is lost.

use model::JsonText;
use model::handoffs::Notes;
use serde_json::{Map, Value};

/// What agents call a summary, the surest word first.
const SUMMARY: &[&str] = &["summary", "overview", "description", "message", "text", "notes", "title"];

/// What agents call each list, in lower case with underscores.
const COMPLETED_WORK: &[&str] = &[
    "completed_work",
    "completed",
    "completed_tasks",
    "done",
    "finished",
    "work_done",
    "accomplished",
    "accomplishments",
];
const IN_PROGRESS: &[&str] =
    &["in_progress", "work_in_progress", "wip", "ongoing", "current_work", "working_on", "doing"];
const DECISIONS: &[&str] = &["decisions", "decision", "key_decisions", "decisions_made", "decided"];
const NEXT_STEPS: &[&str] = &[
    "next_steps",
    "next_step",
    "next",
    "todo",
    "todos",
    "to_do",
    "remaining",
    "remaining_work",
    "pending",
    "follow_up",
    "follow_ups",
];
const RELEVANT_FILES: &[&str] = &[
    "relevant_files",
    "files",
    "key_files",
    "changed_files",
    "files_changed",
    "modified_files",
    "files_modified",
    "file_paths",
];

/// A summary that is made from other texts is no longer than this, in characters.
const MADE_SUMMARY_LIMIT: usize = 300;

/// Adds what `content` says. What fits in no list, and a text where there is a summary already, is kept as it came.
pub fn add(notes: &mut Notes, mut content: Value) {
    content.sort_all_objects();
    let rest = match content {
        Value::String(text) if notes.summary.is_empty() => {
            notes.summary = text;
            Value::Null
        }
        Value::Object(fields) => add_fields(notes, fields),
        other => other,
    };
    if notes.summary.is_empty() {
        notes.summary = cut(&in_words(notes, &rest));
    }
    if !is_empty(&rest) {
        notes.content = Some(JsonText::new(&rest));
    }
}

/// The fields that are no lists of ours.
fn add_fields(notes: &mut Notes, mut fields: Map<String, Value>) -> Value {
    if notes.summary.is_empty() {
        let is_text = |name: &&&str| fields.get(**name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if let Some(name) = SUMMARY.iter().find(is_text)
            && let Some(Value::String(text)) = fields.remove(*name)
        {
            notes.summary = text;
        }
    }
    let mut rest = Map::new();
    for (name, value) in fields {
        match list_called(notes, &name) {
            Some(list) => {
                for item in items(&value) {
                    if !list.contains(&item) {
                        list.push(item);
                    }
                }
            }
            None if is_empty(&value) => {}
            None => {
                rest.insert(name, value);
            }
        }
    }
    Value::Object(rest)
}

fn list_called<'a>(notes: &'a mut Notes, name: &str) -> Option<&'a mut Vec<String>> {
    let name = name.trim().to_lowercase().replace([' ', '-'], "_");
    let is_one_of = |names: &[&str]| names.contains(&name.as_str());
    match () {
        () if is_one_of(COMPLETED_WORK) => Some(&mut notes.completed_work),
        () if is_one_of(IN_PROGRESS) => Some(&mut notes.in_progress),
        () if is_one_of(DECISIONS) => Some(&mut notes.decisions),
        () if is_one_of(NEXT_STEPS) => Some(&mut notes.next_steps),
        () if is_one_of(RELEVANT_FILES) => Some(&mut notes.relevant_files),
        () => None,
    }
}

/// A list as agents write it: an array, a text with an item on each line, or an object with an item in each field.
fn items(value: &Value) -> Vec<String> {
    let items: Vec<String> = match value {
        Value::Null => vec![],
        Value::String(text) => text.lines().map(without_bullet).map(str::to_owned).collect(),
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect(),
        other => vec![other.to_string()],
    };
    items.into_iter().filter(|item| !item.is_empty()).collect()
}

/// `- an item`, `* an item`, `1. an item` and `[x] an item` are all `an item`.
fn without_bullet(line: &str) -> &str {
    let line = line.trim();
    let numbered =
        || line.split_once(['.', ')']).filter(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let item = ["- ", "* ", "+ ", "\u{2022} "].iter().find_map(|bullet| line.strip_prefix(bullet));
    let item = item.or_else(|| numbered().map(|(_, item)| item).filter(|item| item.starts_with(' '))).unwrap_or(line);
    let item = item.trim();
    ["[x] ", "[X] ", "[ ] "].iter().find_map(|mark| item.strip_prefix(mark)).unwrap_or(item).trim()
}

/// One item in words: `{"what": "SQLite", "why": "no set-up"}` is `what: SQLite; why: no set-up`.
fn text(value: &Value) -> String {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.values().all(is_plain) => {
            let each: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
            each.join("; ")
        }
        other => other.to_string(),
    }
}

/// What there is, where nobody summed it up.
fn in_words(notes: &Notes, rest: &Value) -> String {
    if !is_empty(rest) {
        return text(rest);
    }
    let lists = [
        ("in progress", &notes.in_progress),
        ("done", &notes.completed_work),
        ("next", &notes.next_steps),
        ("decided", &notes.decisions),
        ("see", &notes.relevant_files),
    ];
    lists.iter().find_map(|(word, list)| Some(format!("{word}: {}", list.first()?))).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MADE_SUMMARY_LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: Value) -> Notes {
        let mut notes = Notes::default();
        add(&mut notes, content);
        notes
    }

    #[test]
    fn a_text_is_the_summary() {
        assert_eq!(read(json!("half done")), Notes { summary: "half done".into(), ..Notes::default() });
        let mut notes = Notes { summary: "half done".into(), ..Notes::default() };
        add(&mut notes, json!("and more"));
        assert_eq!((notes.summary.as_str(), notes.content), ("half done", Some(JsonText::new(&json!("and more")))));
    }

    #[test]
    fn the_lists_are_known_by_many_names() {
        let notes = read(json!({
            "Overview": "not it: names of summaries are plain",
            "title": "parser",
            "done": ["lexer", {"what": "tests", "count": 3}, ["nested"]],
            "WIP": "- grammar\n2. errors\n\n* [x] docs",
            "Key Decisions": {"engine": "hand-written"},
            "next-steps": ["ship"],
            "todo": ["ship", "measure"],
            "files": "src/a.rs",
            "mood": "good",
        }));
        assert_eq!(notes.summary, "parser");
        assert_eq!(notes.completed_work, ["lexer", "count: 3; what: tests", "[\"nested\"]"]);
        assert_eq!(notes.in_progress, ["grammar", "errors", "docs"]);
        assert_eq!(notes.decisions, ["engine: hand-written"]);
        assert_eq!(notes.next_steps, ["ship", "measure"]);
        assert_eq!(notes.relevant_files, ["src/a.rs"]);
        let rest = json!({"Overview": "not it: names of summaries are plain", "mood": "good"});
        assert_eq!(notes.content.map(|c| c.value()), Some(rest));
    }

    #[test]
    fn whoever_sums_nothing_up_is_summed_up() {
        for (content, summary) in [
            (json!({"done": ["a", "b"], "next": ["c"]}), "done: a"),
            (json!({"next": ["c"]}), "next: c"),
            (json!({"mood": "good", "count": 2}), "count: 2; mood: good"),
            (json!(["a", "b"]), "[\"a\",\"b\"]"),
            (json!(7), "7"),
            (json!({}), ""),
            (json!(""), ""),
            (json!({"done": []}), ""),
            (json!({"summary": "", "mood": {}, "next": null}), ""),
        ] {
            assert_eq!(read(content.clone()).summary, summary, "{content}");
        }
        assert_eq!(read(json!({"mood": "\u{e9}".repeat(1000)})).summary.chars().count(), MADE_SUMMARY_LIMIT + 3);
    }
}
