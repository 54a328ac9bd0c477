//! Edits of TOML. A table of ours is appended as text, and taken out as text where nobody touched it since, so that every
//! other byte stays; only what somebody wrote in another form is edited by its structure.

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::text::{gap, in_the_manner_of, line_end};

/// Sets a table; see [`crate::Part::Table`]. Keys in it that are not ours stay.
pub(crate) fn put_table(body: &str, path: &[String], values: &[(String, String)]) -> Result<String, String> {
    let mut document = parse(body)?;
    let wanted = values.iter().map(|(key, value)| Ok((key, value_of(value)?))).collect::<Result<Vec<_>, String>>()?;
    if let Some(table) = find(document.as_item_mut(), path)? {
        if wanted.iter().all(|(key, value)| table.get(key).is_some_and(|item| is_same(item, value))) {
            return Ok(body.to_owned());
        }
        for (key, value) in wanted {
            set(table, key, value);
        }
        return Ok(render(body, &document));
    }
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    match find(document.as_item_mut(), above) {
        // `mcp_servers = { ... }` is closed: a table behind it cannot add to it.
        Ok(Some(inline)) if !is_open(&parse(body)?, above) => {
            inline.insert(name, Item::Value(Value::InlineTable(wanted.into_iter().collect())));
            Ok(render(body, &document))
        }
        Ok(_) => Ok(format!("{body}{}{}", gap(body), in_the_manner_of(body, &lines(path, values)))),
        Err(wrong) => Err(wrong),
    }
}

/// Takes a table out, or gives it back the form it had.
pub(crate) fn take_table(
    body: &str,
    path: &[String],
    values: &[(String, String)],
    before: Option<&str>,
) -> Result<String, String> {
    let before = before.unwrap_or_default();
    let mut former = parse(before)?;
    let mut document = parse(body)?;
    let Some((name, above)) = path.split_last() else { return Ok(body.to_owned()) };
    let former = find(former.as_item_mut(), above)?.and_then(|table| table.get(name).cloned());
    if former.is_none() {
        let lines = in_the_manner_of(body, &lines(path, values));
        if let Some((above, below)) = body.split_once(&lines)
            && (above.is_empty() || above.ends_with('\n'))
            && !is_a_key(below)
        {
            return Ok([above.strip_suffix(&gap(before)).unwrap_or(above), below].concat());
        }
    }
    let Some(table) = find(document.as_item_mut(), above)? else { return Ok(body.to_owned()) };
    match former {
        Some(former) => table.insert(name, former),
        None => table.remove(name),
    };
    Ok(render(body, &document))
}

/// Does what follows our lines belong to our table?
fn is_a_key(below: &str) -> bool {
    let next = below.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    next.is_some_and(|line| !line.starts_with('['))
}

fn lines(path: &[String], values: &[(String, String)]) -> String {
    let values: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("[{}]\n{values}", path.join("."))
}

fn parse(body: &str) -> Result<DocumentMut, String> {
    body.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map(|span| body[..span.start.min(body.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!(" on line {line}")).unwrap_or_default();
        format!("it is no valid TOML: {}{place}", error.message())
    })
}

fn value_of(text: &str) -> Result<Value, String> {
    text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())
}

fn find<'d>(root: &'d mut Item, path: &[String]) -> Result<Option<&'d mut dyn TableLike>, String> {
    let mut item = root;
    for (at, name) in path.iter().enumerate() {
        let wrong = || format!("its `{}` is no table", path[..at].join("."));
        match item.as_table_like_mut().ok_or_else(wrong)?.get_mut(name) {
            Some(next) => item = next,
            None => return Ok(None),
        }
    }
    item.as_table_like_mut().map(Some).ok_or_else(|| format!("its `{}` is no table", path.join(".")))
}

/// Can a header further down in the text add to the table at these names?
fn is_open(document: &DocumentMut, path: &[String]) -> bool {
    let mut table: &Table = document.as_table();
    for name in path {
        match table.get(name) {
            Some(Item::Table(next)) if !next.is_dotted() => table = next,
            Some(_) => return false,
            None => return true,
        }
    }
    true
}

fn is_same(item: &Item, value: &Value) -> bool {
    item.as_value().is_some_and(|there| there.to_string().trim() == value.to_string().trim())
}

/// Sets a key and keeps the comment beside it.
fn set(table: &mut dyn TableLike, key: &str, value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(there)) => {
            let decor = there.decor().clone();
            *there = value;
            *there.decor_mut() = decor;
        }
        _ => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// The edited text, with the line ends it had.
fn render(before: &str, document: &DocumentMut) -> String {
    let text = document.to_string();
    if line_end(before) == "\n" { text } else { in_the_manner_of(before, &text.replace("\r\n", "\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> Vec<String> {
        ["mcp_servers", "coordinator"].map(String::from).to_vec()
    }

    fn values() -> Vec<(String, String)> {
        vec![("command".into(), "\"coordinator\"".into()), ("args".into(), "[\"mcp\"]".into())]
    }

    #[test]
    fn a_table_comes_and_goes_and_leaves_every_byte() {
        let texts = [
            "",
            "model = \"x\" # mine\n",
            "model   =   'x'\r\n\r\n[ mcp_servers . other ]\r\ncommand = 'y'\r\n",
            "[mcp_servers]\n# none\n",
            "a = 1",
            "[[x]]\ny = 1\n\n\n",
        ];
        for before in texts {
            let with = put_table(before, &path(), &values()).unwrap();
            let document = parse(&with).unwrap();
            assert_eq!(document["mcp_servers"]["coordinator"]["args"][0].as_str(), Some("mcp"), "{with}");
            assert!(with.starts_with(before), "{with:?}");
            assert_eq!(put_table(&with, &path(), &values()).unwrap(), with);
            assert_eq!(take_table(&with, &path(), &values(), Some(before)).unwrap(), before);
            let touched = with.replace("[\"mcp\"]", "[\"mcp\", \"--url\", \"x\"]");
            let without = take_table(&touched, &path(), &values(), Some(before)).unwrap();
            assert!(!without.contains("coordinator"), "{without:?}");
        }
    }

    #[test]
    fn a_table_in_another_form_is_edited_where_it_is() {
        let inline = "mcp_servers = { other = { command = 'y' } } # mine\n";
        let with = put_table(inline, &path(), &values()).unwrap();
        assert!(
            with.starts_with("mcp_servers = { other = { command = 'y' }") && with.contains(", coordinator = {"),
            "{with}"
        );
        assert!(with.ends_with("# mine\n"), "{with}");

        let older = "[mcp_servers.coordinator]\ncommand = \"old\" # mine\nenv = { AGENT_ID = \"me\" }\n";
        let with = put_table(older, &path(), &values()).unwrap();
        assert!(
            with.contains("command = \"coordinator\" # mine\nenv = { AGENT_ID = \"me\" }\nargs = [\"mcp\"]"),
            "{with}"
        );
        let former = take_table(&with, &path(), &values(), Some(older)).unwrap();
        assert!(former.contains("\"old\"") && !former.contains("args"), "{former}");
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        assert_eq!(put_table("a = 1\nb = \n", &path(), &values()).unwrap_err().contains("line 2"), true);
        assert!(put_table("mcp_servers = 1\n", &path(), &values()).unwrap_err().contains("`mcp_servers` is no table"));
    }
}
