//! Operations as tools: how they are listed, in as few words as will do, and how their answers are told.
//!
//! An agent pays for the list at every step it takes, whether it uses a tool or not. So the list has no limits, no fields
//! that few calls need and hardly an answer's schema; all of that is checked, accepted and given in any case, and `help`
//! tells it.

use std::sync::{Arc, LazyLock};

use coordinator::operation::{Access, Entry};
use coordinator::registry::{self, ToolSet};
use rmcp::model::{CallToolResult, ContentBlock, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// An answer's schema is listed when it takes no more characters.
const ANSWER_LIMIT: usize = 100;

static CORE: LazyLock<Vec<Tool>> = LazyLock::new(|| registry::tools(ToolSet::Core).map(tool).collect());
static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| registry::tools(ToolSet::All).map(tool).collect());

/// The tools of the set, as a client sees them.
pub fn listed(set: ToolSet) -> &'static [Tool] {
    match set {
        ToolSet::Core => &CORE,
        ToolSet::All => &ALL,
    }
}

fn tool(entry: &'static Entry) -> Tool {
    let tool = Tool::new(entry.name, entry.summary, request_in_short(entry)).annotate(hints(entry));
    let answer = answer_in_short(entry.answer_schema());
    if Value::Object(answer.clone()).to_string().chars().count() > ANSWER_LIMIT {
        return tool;
    }
    tool.with_raw_output_schema(Arc::new(answer))
}

/// What a client may assume of a call. What is left out has the protocol's default, or no meaning for a read.
fn hints(entry: &Entry) -> ToolAnnotations {
    let hints = ToolAnnotations::new().open_world(false);
    if entry.access != Access::Write {
        return hints.read_only(true);
    }
    let hints = hints.destructive(entry.is_destructive);
    if entry.is_idempotent { hints.idempotent(true) } else { hints }
}

/// The request's schema without the fields that few calls need.
fn request_in_short(entry: &Entry) -> Map<String, Value> {
    let mut schema = in_short(entry.request_schema());
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.retain(|name, _| !entry.seldom.contains(&name.as_str()));
    }
    schema
}

/// The schema without its limits, which are told to whoever breaks them, too.
fn in_short(schema: &Value) -> Map<String, Value> {
    const LIMITS: [&str; 8] =
        ["minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "format", "additionalProperties"];
    let mut schema = schema.clone();
    walk(&mut schema, &|object| {
        // A field may be called as a limit is.
        object.retain(|name, value| !LIMITS.contains(&name.as_str()) || (name == "format" && value.is_object()));
    });
    into_object(schema)
}

/// The answer's fields and their types. None is required: a refusal is an answer too, and has other fields.
fn answer_in_short(schema: &Value) -> Map<String, Value> {
    let mut schema = match schema["type"].as_str() {
        Some("object") => schema.clone(),
        _ => json!({"type": "object", "properties": {RESULT: schema}}),
    };
    walk(&mut schema, &|object| {
        // A field may bear such a name; its value is a schema then, no text or list.
        object.retain(|name, value| match name.as_str() {
            "description" => !value.is_string(),
            "required" => !value.is_array(),
            _ => true,
        });
    });
    in_short(&schema)
}

fn walk(schema: &mut Value, change: &impl Fn(&mut Map<String, Value>)) {
    match schema {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|value| walk(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The field of an answer that is no object itself.
const RESULT: &str = "result";

/// The answer as data for programs, which must be an object, and in short as text for the model.
pub fn result(answer: Value) -> CallToolResult {
    let text = brief(&answer).to_string();
    let data = if answer.is_object() { answer } else { json!({RESULT: answer}) };
    told(CallToolResult::structured(data), text)
}

/// A refusal, told likewise.
pub fn error(body: Value) -> CallToolResult {
    let text = brief(&body).to_string();
    told(CallToolResult::structured_error(body), text)
}

fn told(mut result: CallToolResult, text: String) -> CallToolResult {
    result.content = vec![ContentBlock::text(text)];
    result
}

/// The value without what says nothing: fields that are null, and a field's alias.
fn brief(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_alias = |name: &str| name == "task_description" && fields.get("description") == fields.get(name);
            let told = fields.iter().filter(|(name, value)| !value.is_null() && !is_alias(name));
            told.map(|(name, value)| (name.clone(), brief(value))).collect()
        }
        Value::Array(items) => items.iter().map(brief).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the tools cost an agent's context, in characters: each in all its fields, hints and answers included.
    const BUDGETS: [(ToolSet, usize); 2] = [(ToolSet::Core, 8_000), (ToolSet::All, 16_000)];

    #[test]
    fn the_tools_cost_little_context() {
        for (set, budget) in BUDGETS {
            let sizes = listed(set).iter().map(|tool| serde_json::to_string(tool).unwrap().chars().count());
            let total: usize = sizes.sum();
            println!("{set:?}: {total} characters for {} tools", listed(set).len());
            assert!(total <= budget, "{set:?}: {total} characters, more than {budget}");
        }
    }

    /// A workflow skill takes a capability to be there when its tools are listed, so each is worth its place in the short list.
    #[test]
    fn the_short_list_shows_what_skills_look_for() {
        let listed: Vec<&str> = listed(ToolSet::Core).iter().map(|tool| tool.name.as_ref()).collect();
        for tools in [
            &["acquire_lock", "release_lock"][..],
            &["submit_work", "get_work", "complete_work"],
            &["write_handoff", "read_handoff"],
            &["remember", "recall"],
            &["check_guardrails"],
            &["discover_agents", "register_session"],
            &["check_policy"],
            &["query_audit"],
        ] {
            for tool in tools {
                assert!(listed.contains(tool), "{tool} is not listed");
            }
        }
    }

    #[test]
    fn hints_follow_from_what_an_operation_does() {
        let hints = |name: &str| serde_json::to_value(hints(registry::find(name).unwrap())).unwrap();
        assert_eq!(hints("check_locks"), json!({"readOnlyHint": true, "openWorldHint": false}));
        assert_eq!(hints("get_work"), json!({"destructiveHint": false, "openWorldHint": false}));
        let (kept, lost) = (json!(false), json!(true));
        for (name, is_destructive) in [("release_lock", kept), ("cancel_task", lost)] {
            let expected = json!({"destructiveHint": is_destructive, "idempotentHint": true, "openWorldHint": false});
            assert_eq!(hints(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_listed_is_a_schema_without_limits() {
        for tool in listed(ToolSet::All) {
            let entry = registry::find(&tool.name).unwrap();
            let schema = Value::Object(tool.input_schema.as_ref().clone());
            assert!(jsonschema::meta::is_valid(&schema), "{}: {schema}", tool.name);
            let fields = |schema: &Value| {
                schema["properties"].as_object().map(|p| p.keys().cloned().collect::<BTreeSet<_>>()).unwrap()
            };
            let mut told = fields(entry.request_schema());
            told.retain(|field| !entry.seldom.contains(&field.as_str()));
            assert_eq!(fields(&schema), told, "{}", tool.name);
            assert_eq!(schema["required"], entry.request_schema()["required"], "{}", tool.name);
            assert!(!schema.to_string().contains("maxLength"), "{schema}");
            let refusal = json!({"success": false, "error": "session_expired", "message": "..."});
            if let Some(answer) = &tool.output_schema {
                let answer = Value::Object(answer.as_ref().clone());
                assert!(jsonschema::meta::is_valid(&answer) && jsonschema::is_valid(&answer, &refusal), "{answer}");
            }
        }
    }

    #[test]
    fn the_text_leaves_out_what_says_nothing_and_the_data_does_not() {
        let answer = json!({"description": "d", "task_description": "d", "deadline": null, "list": [{"a": null}]});
        let told = result(answer.clone());
        assert_eq!(told.structured_content, Some(answer));
        assert_eq!(told.content[0].as_text().unwrap().text, r#"{"description":"d","list":[{}]}"#);
        let list = result(json!([1]));
        assert_eq!(
            (list.structured_content.unwrap(), &*list.content[0].as_text().unwrap().text),
            (json!({"result": [1]}), "[1]")
        );
    }
}
