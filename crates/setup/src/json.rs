//! Edits of JSON and of JSON with comments, on its concrete syntax: what is not ours keeps its bytes.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::Value;

use crate::text::{in_the_manner_of, line_end};
use crate::vendor::Agent;

/// What agents read: comments and trailing commas where somebody uses them, and nothing that is broken.
const ACCEPTED: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The name of the member that hooks are in.
const HOOKS: &str = "hooks";

/// The value in a text, without its comments; `null` for an empty one.
///
/// # Errors
/// A sentence that says where it is broken.
pub fn value(body: &str) -> Result<Value, String> {
    Ok(parse(body)?.to_serde_value().unwrap_or_default())
}

/// Sets a member; see [`crate::Part::Member`].
pub(crate) fn put_member(body: &str, path: &[String], value: &str) -> Result<String, String> {
    let root = parse(body)?;
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    let object = object_at(&root, above)?;
    let wanted: Value = serde_json::from_str(value).map_err(|error| error.to_string())?;
    match object.get(name) {
        Some(member) if member.to_serde_value().as_ref() == Some(&wanted) => return Ok(body.to_owned()),
        Some(member) => member.set_value(input(value)?),
        None => append(&object, name, input(value)?),
    }
    Ok(render(body, &root))
}

/// Takes a member out, or gives it back the value it had.
pub(crate) fn take_member(body: &str, path: &[String], before: Option<&str>) -> Result<String, String> {
    let root = parse(body)?;
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    let Some(member) = existing(&root, above).and_then(|object| object.get(name)) else { return Ok(body.to_owned()) };
    let before = parse(before.unwrap_or_default())?;
    let former = existing(&before, above).and_then(|object| object.get(name)).and_then(|member| member.value());
    match former {
        Some(former) => member.set_value(input(&former.to_string())?),
        None => member.remove(),
    }
    prune(&root, &before, above);
    Ok(render(body, &root))
}

/// Adds a text to an array.
pub(crate) fn put_item(body: &str, path: &[String], text: &str) -> Result<String, String> {
    let root = parse(body)?;
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    let object = object_at(&root, above)?;
    if object.get(name).is_none() {
        append(&object, name, CstInputValue::Array(vec![CstInputValue::String(text.to_owned())]));
        return Ok(render(body, &root));
    }
    let array = object.array_value(name).ok_or_else(|| format!("its `{}` is no array", path.join(".")))?;
    if array.elements().iter().any(|element| is_text(element, text)) {
        return Ok(body.to_owned());
    }
    array.append(CstInputValue::String(text.to_owned()));
    Ok(render(body, &root))
}

/// Takes a text out of an array, unless it was there before.
pub(crate) fn take_item(body: &str, path: &[String], text: &str, before: Option<&str>) -> Result<String, String> {
    let root = parse(body)?;
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    let before = parse(before.unwrap_or_default())?;
    let array = |root: &CstRootNode| existing(root, above).and_then(|object| object.array_value(name));
    let find = |root| array(root).and_then(|array| array.elements().into_iter().find(|element| is_text(element, text)));
    match find(&root) {
        Some(element) if find(&before).is_none() => element.remove(),
        _ => return Ok(body.to_owned()),
    }
    if array(&root).is_some_and(|array| array.elements().is_empty()) && array(&before).is_none() {
        remove_member(&root, path);
    }
    prune(&root, &before, above);
    Ok(render(body, &root))
}

/// Sets an agent's hooks: one group for each event, in place of those that another version put there.
pub(crate) fn put_hooks(body: &str, agent: Agent, groups: &[(String, String)]) -> Result<String, String> {
    let root = parse(body)?;
    let hooks = object_at(&root, &[HOOKS.to_owned()])?;
    for event in hooks.properties().iter().filter_map(|member| member.decoded_name()) {
        if !groups.iter().any(|(wanted, _)| *wanted == event) {
            take_event(&hooks, &event, agent);
        }
    }
    for (event, group) in groups {
        let wanted: Value = serde_json::from_str(group).map_err(|error| error.to_string())?;
        if hooks.get(event).is_none() {
            append(&hooks, event, CstInputValue::Array(vec![input(group)?]));
            continue;
        }
        let array = hooks.array_value(event).ok_or_else(|| format!("its `hooks.{event}` is no array"))?;
        let ours: Vec<CstNode> = array.elements().into_iter().filter(|group| has_hook_of(group, agent)).collect();
        if let [only] = &ours[..]
            && only.to_serde_value().as_ref() == Some(&wanted)
        {
            continue;
        }
        take_event_groups(ours, agent);
        array.append(input(group)?);
    }
    Ok(render(body, &root))
}

/// Takes an agent's hooks out, and leaves those of others, also where somebody put them into one group with ours.
pub(crate) fn take_hooks(body: &str, agent: Agent, before: Option<&str>) -> Result<String, String> {
    let root = parse(body)?;
    let before = parse(before.unwrap_or_default())?;
    let path = [HOOKS.to_owned()];
    let Some(hooks) = existing(&root, &path) else { return Ok(body.to_owned()) };
    let hooks_before = existing(&before, &path);
    for event in hooks.properties().iter().filter_map(|member| member.decoded_name()) {
        take_event(&hooks, &event, agent);
        let was_there = hooks_before.as_ref().is_some_and(|hooks| hooks.get(&event).is_some());
        if !was_there && hooks.array_value(&event).is_some_and(|array| array.elements().is_empty()) {
            remove_member(&root, &[HOOKS.to_owned(), event]);
        }
    }
    prune(&root, &before, &path);
    Ok(render(body, &root))
}

fn take_event(hooks: &CstObject, event: &str, agent: Agent) {
    if let Some(array) = hooks.array_value(event) {
        take_event_groups(array.elements().into_iter().filter(|group| has_hook_of(group, agent)).collect(), agent);
    }
}

fn take_event_groups(groups: Vec<CstNode>, agent: Agent) {
    for group in groups {
        let Some(handlers) = group.as_object().and_then(|group| group.array_value(HOOKS)) else { continue };
        let (ours, theirs): (Vec<_>, Vec<_>) =
            handlers.elements().into_iter().partition(|handler| is_hook_of(handler, agent));
        if theirs.is_empty() {
            group.remove();
        } else {
            ours.into_iter().for_each(CstNode::remove);
        }
    }
}

fn has_hook_of(group: &CstNode, agent: Agent) -> bool {
    let handlers = group.as_object().and_then(|group| group.array_value(HOOKS));
    handlers.is_some_and(|handlers| handlers.elements().iter().any(|handler| is_hook_of(handler, agent)))
}

fn is_hook_of(handler: &CstNode, agent: Agent) -> bool {
    let command = handler.as_object().and_then(|handler| handler.get("command")?.to_serde_value());
    command.as_ref().and_then(Value::as_str).is_some_and(|command| agent.runs_in(command))
}

fn is_text(element: &CstNode, text: &str) -> bool {
    element.as_string_lit().and_then(|literal| literal.decoded_value().ok()).as_deref() == Some(text)
}

fn parse(body: &str) -> Result<CstRootNode, String> {
    CstRootNode::parse(body, &ACCEPTED).map_err(|error| format!("it is no valid JSON: {error}"))
}

/// The object at these names, made where it is missing.
fn object_at(root: &CstRootNode, path: &[String]) -> Result<CstObject, String> {
    let mut object = root.object_value_or_create().ok_or("it holds something else than a JSON object")?;
    for (at, name) in path.iter().enumerate() {
        if object.get(name).is_none() {
            append(&object, name, CstInputValue::Object(vec![]));
        }
        object = object.object_value(name).ok_or_else(|| format!("its `{}` is no object", path[..=at].join(".")))?;
    }
    Ok(object)
}

fn existing(root: &CstRootNode, path: &[String]) -> Option<CstObject> {
    path.iter().try_fold(root.object_value()?, |object, name| object.object_value(name))
}

/// Adds a member. An object on one line is spread over several: ours would make that line too long to read.
fn append(object: &CstObject, name: &str, value: CstInputValue) {
    let member = object.append(name, value);
    if member.previous_property().is_some() {
        object.ensure_multiline();
    }
}

/// Removes the objects at these names that are empty now, and were not there before.
fn prune(root: &CstRootNode, before: &CstRootNode, path: &[String]) {
    for length in (1..=path.len()).rev() {
        let path = &path[..length];
        let is_empty = existing(root, path).is_some_and(|object| object.properties().is_empty());
        if !is_empty || existing(before, path).is_some() {
            return;
        }
        remove_member(root, path);
    }
}

fn remove_member(root: &CstRootNode, path: &[String]) {
    let Some((name, above)) = path.split_last() else { return };
    if let Some(member) = existing(root, above).and_then(|object| object.get(name)) {
        member.remove();
    }
}

/// JSON as a value to insert, its members in the order in which they are written.
fn input(json: &str) -> Result<CstInputValue, String> {
    let root = parse(json)?;
    root.value().and_then(|node| input_of(&node)).ok_or_else(|| "there is no value to write".into())
}

fn input_of(node: &CstNode) -> Option<CstInputValue> {
    if let Some(object) = node.as_object() {
        let member =
            |member: jsonc_parser::cst::CstObjectProp| Some((member.decoded_name()?, input_of(&member.value()?)?));
        return Some(CstInputValue::Object(object.properties().into_iter().map(member).collect::<Option<_>>()?));
    }
    if let Some(array) = node.as_array() {
        return Some(CstInputValue::Array(array.elements().iter().map(input_of).collect::<Option<_>>()?));
    }
    Some(match node.to_serde_value()? {
        Value::Null => CstInputValue::Null,
        Value::Bool(it) => CstInputValue::Bool(it),
        Value::Number(it) => CstInputValue::Number(it.to_string()),
        Value::String(it) => CstInputValue::String(it),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// The edited text. A file that we began ends its last line.
fn render(before: &str, root: &CstRootNode) -> String {
    let text = root.to_string();
    if before.trim().is_empty() && !text.ends_with('\n') {
        return text + &in_the_manner_of(before, "\n");
    }
    debug_assert_eq!(line_end(before), line_end(&text), "line ends are kept");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = r#"{"command": "coordinator", "args": ["mcp"]}"#;

    fn path() -> Vec<String> {
        ["mcpServers", "coordinator"].map(String::from).to_vec()
    }

    fn hooks(program: &str) -> Vec<(String, String)> {
        let group = |event: &str| {
            let handler = format!(r#"{{"type": "command", "command": "{program} hook claude {event}"}}"#);
            (event.to_owned(), format!(r#"{{"matcher": "Edit", "hooks": [{handler}]}}"#))
        };
        vec![group("PreToolUse"), group("Stop")]
    }

    #[test]
    fn a_new_file_reads_well() {
        let text = put_member("", &path(), SERVER).unwrap();
        let expected = "{\n  \"mcpServers\": {\n    \"coordinator\": {\n      \"command\": \"coordinator\",\n      \"args\": [\"mcp\"]\n    }\n  }\n}\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_others_wrote_keeps_its_bytes() {
        let texts = [
            "{\n\t// why\n\t\"a\":1 , /* b */\n\n\t\"mcpServers\"  : { \"x\": {} } // last\n}\n",
            "{\r\n    \"z\": [1,\r\n2],\r\n    \"mcpServers\": {\r\n    }\r\n}",
            "// head\n{\n  \"a\": 1,\n}\n// foot\n",
            "{\"a\":1}",
            "{}",
            "{ }\n",
            "\n",
        ];
        for before in texts {
            let with = put_member(before, &path(), SERVER).unwrap();
            let with = put_item(&with, &["enabled".into()], "coordinator").unwrap();
            let with = put_hooks(&with, Agent::Claude, &hooks("coordinator")).unwrap();
            let read = value(&with).unwrap();
            assert_eq!(read["mcpServers"]["coordinator"]["args"][0], "mcp", "{with}");
            assert_eq!(read["hooks"]["Stop"][0]["hooks"][0]["command"], "coordinator hook claude Stop", "{with}");
            // Nothing is lost, and in the same order.
            let mut rest = with.chars();
            let significant = before.chars().filter(|c| !c.is_whitespace());
            significant.for_each(|c| assert!(rest.any(|other| other == c), "{c:?} of {before:?} in {with:?}"));
            assert_eq!(with.contains('\r'), before.contains('\r'));
            assert_eq!(with.matches('\n').count(), with.matches(line_end(before)).count(), "{with:?}");
            // Once is enough.
            assert_eq!(put_member(&with, &path(), SERVER).unwrap(), with);
            assert_eq!(put_item(&with, &["enabled".into()], "coordinator").unwrap(), with);
            assert_eq!(put_hooks(&with, Agent::Claude, &hooks("coordinator")).unwrap(), with);
            // And back.
            let without = take_hooks(&with, Agent::Claude, Some(before)).unwrap();
            let without = take_item(&without, &["enabled".into()], "coordinator", Some(before)).unwrap();
            let without = take_member(&without, &path(), Some(before)).unwrap();
            let empty_or =
                |text: &str| value(text).map(|value| if value.is_null() { serde_json::json!({}) } else { value });
            assert_eq!(empty_or(&without), empty_or(before), "{without}");
            assert!(!without.contains("coordinator"), "{without}");
        }
    }

    #[test]
    fn hooks_of_others_stay_where_they_are() {
        let before = r#"{
  "hooks": {
    "PreToolUse": [
      {"matcher": "Bash", "hooks": [{"type": "command", "command": "theirs"}]},
      {"matcher": "Edit", "hooks": [
        {"type": "command", "command": "/old/coordinator hook claude PreToolUse"},
        {"type": "command", "command": "theirs too"}
      ]}
    ],
    "Gone": [{"hooks": [{"type": "command", "command": "coordinator hook claude Gone"}]}]
  }
}
"#;
        let with = put_hooks(before, Agent::Claude, &hooks("coordinator")).unwrap();
        assert!(with.contains("theirs\"") && with.contains("theirs too") && !with.contains("/old/"), "{with}");
        let read = value(&with).unwrap();
        assert_eq!(read["hooks"]["Gone"].as_array().map(Vec::len), Some(0), "{with}");
        let without = take_hooks(&with, Agent::Claude, Some(before)).unwrap();
        assert!(without.contains("theirs\"") && without.contains("theirs too") && !without.contains("coordinator"));
        assert!(value(&without).unwrap()["hooks"].get("Stop").is_none(), "{without}");
    }

    #[test]
    fn a_member_gets_its_former_value_back() {
        let before = "{\"mcpServers\": {\"coordinator\": {\"command\": \"/old/coordinator\"}}}\n";
        let with = put_member(before, &path(), SERVER).unwrap();
        assert!(!with.contains("/old/"), "{with}");
        assert_eq!(value(&take_member(&with, &path(), Some(before)).unwrap()), value(before));
    }

    #[test]
    fn what_cannot_be_edited_is_told() {
        assert!(put_member("{\"a\": }", &path(), SERVER).unwrap_err().contains("line 1"));
        assert!(put_member("[]", &path(), SERVER).unwrap_err().contains("JSON object"));
        assert!(put_member("{\"mcpServers\": 1}", &path(), SERVER).unwrap_err().contains("`mcpServers` is no object"));
        assert!(
            put_hooks("{\"hooks\": {\"Stop\": {}}}", Agent::Claude, &hooks("c")).unwrap_err().contains("hooks.Stop")
        );
    }
}
