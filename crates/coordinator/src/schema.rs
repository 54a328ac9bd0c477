//! The JSON schemas of an operation: what a request must look like is said once, in its type.

use std::sync::OnceLock;

use jsonschema::{Draft, PatternOptions, Validator};
use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::failure::FieldError;
use crate::operation::{BodyIdentity, Operation};

/// Schemas of one operation, each made when it is first asked for.
pub struct Schemas {
    make: fn() -> (Value, Value),
    identity: BodyIdentity,
    pair: OnceLock<(Value, Value)>,
    body: OnceLock<Value>,
    request_validator: OnceLock<Option<Validator>>,
    body_validator: OnceLock<Option<Validator>>,
}

impl Schemas {
    pub fn of<O: Operation>() -> Self {
        Self {
            make: || (compact::<O::Request>(Side::Request), compact::<O::Answer>(Side::Answer)),
            identity: O::BODY_IDENTITY,
            pair: OnceLock::new(),
            body: OnceLock::new(),
            request_validator: OnceLock::new(),
            body_validator: OnceLock::new(),
        }
    }

    pub fn request(&self) -> &Value {
        &self.pair.get_or_init(self.make).0
    }

    pub fn answer(&self) -> &Value {
        &self.pair.get_or_init(self.make).1
    }

    /// The request's schema with the fields by which a body names its caller.
    pub fn body(&self) -> &Value {
        self.body.get_or_init(|| with_identity(self.request().clone(), self.identity))
    }

    /// What is wrong with a request, at most `limit` things; nothing, when it is right.
    pub fn errors(&self, arguments: &Value, is_body: bool, limit: usize) -> Vec<FieldError> {
        let (schema, validator) = match is_body {
            true => (self.body(), &self.body_validator),
            false => (self.request(), &self.request_validator),
        };
        match validator.get_or_init(|| validator_of(schema).ok()) {
            Some(validator) if validator.is_valid(arguments) => vec![],
            Some(validator) => validator.iter_errors(arguments).take(limit).map(|e| field_error(&e)).collect(),
            // Our own schemas are valid (a test walks them all); the types check the request again in any case.
            None => vec![],
        }
    }
}

/// Reads a schema as one of draft 7, in which all that ours say has the same meaning (a test sees to that): the schema that
/// it is first checked against is far smaller than today's, which a server would keep in memory for nothing else.
fn validator_of(schema: &Value) -> Result<Validator, jsonschema::ValidationError<'static>> {
    let options = jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(false);
    options.with_pattern_options(PatternOptions::regex()).build(schema)
}

fn field_error(error: &jsonschema::ValidationError<'_>) -> FieldError {
    let path = error.instance_path().to_string();
    let path = path.trim_start_matches('/').replace('/', ".");
    if let jsonschema::error::ValidationErrorKind::Required { property } = error.kind() {
        let property = property.as_str().unwrap_or_default();
        let field = if path.is_empty() { property.to_owned() } else { format!("{path}.{property}") };
        return FieldError { field, message: "is required".into() };
    }
    let message = error.masked_with("it").to_string();
    FieldError { field: if path.is_empty() { "request".into() } else { path }, message }
}

fn with_identity(mut schema: Value, identity: BodyIdentity) -> Value {
    if identity == BodyIdentity::None {
        return schema;
    }
    let fields = [
        ("agent_id", "Who is calling; must be the key's agent where the key is bound to one."),
        ("agent_type", "The caller's type, such as claude_code_cli."),
        ("session_id", "The caller's session, where it registered one."),
    ];
    let required: &[&str] = match identity {
        BodyIdentity::None | BodyIdentity::Optional | BodyIdentity::WithoutSession => &[],
        BodyIdentity::Agent => &["agent_id"],
        BodyIdentity::AgentAndType => &["agent_id", "agent_type"],
    };
    let named = if identity == BodyIdentity::WithoutSession { &fields[..2] } else { &fields[..] };
    for (field, description) in named {
        schema["properties"][*field] =
            json!({"type": "string", "minLength": 1, "maxLength": 256, "description": description});
    }
    let mut all: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    all.extend(required.iter().map(|field| json!(field)));
    if !all.is_empty() {
        schema["required"] = Value::Array(all);
    }
    schema
}

/// Which way the described value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// To us: null stands for an absent field, and need not be mentioned.
    Request,
    /// From us: null is a value to expect, and a field that may be left out is not required.
    Answer,
}

/// The schema of a type in as few words as will do: it is read by language models, who pay for each.
fn compact<T: JsonSchema>(side: Side) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
        if side == Side::Answer {
            s.contract = Contract::Serialize;
        }
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
        root.remove("description");
        if root.get("type") == Some(&json!("object")) {
            root.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        }
    }
    if side == Side::Request {
        drop_nulls(&mut schema);
    }
    tidy(&mut schema);
    schema
}

/// Removes the nulls that stand for absent fields.
fn drop_nulls(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = object.get_mut("enum") {
                options.retain(|option| !option.is_null());
            }
            if let Some(Value::Array(variants)) = object.get("anyOf") {
                let real: Vec<Value> = variants.iter().filter(|v| **v != json!({"type": "null"})).cloned().collect();
                if let [Value::Object(only)] = real.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    for (name, value) in only {
                        object.entry(name).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Removes what says nothing: Rust's number formats, empty defaults.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let is_number_format =
                |f: &Value| f.as_str().is_some_and(|f| f.starts_with("uint") || f.starts_with("int"));
            if object.get("format").is_some_and(is_number_format) {
                object.remove("format");
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
