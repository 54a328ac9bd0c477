//! The way of every call, whichever door it came through: validate, identify, run, audit.

use std::time::Instant;

use model::JsonText;
use model::command::{Action, Refusal};
use model::id::{AgentId, Caller, Project};
use serde_json::{Map, Value};

use crate::Coordinator;
use crate::failure::{Failure, FieldError};
use crate::identity::Principal;
use crate::operation::{BodyIdentity, Context, Door, Entry};
use crate::redact::redacted;

/// The fields that hold lock keys. They say for themselves what is wrong with a text, also with one that no database
/// can store.
const KEY_FIELDS: [&str; 2] = ["file_path", "file_paths"];

/// The fields by which a body names its caller.
const NAME_FIELDS: [&str; 3] = ["agent_id", "agent_type", "session_id"];

impl Coordinator {
    /// A call by a caller that the door knows: a tool call, a command line. A field that the operation does not have is
    /// an error.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then.
    pub async fn call(
        &self,
        entry: &Entry,
        project: &Project,
        caller: &Caller,
        door: Door,
        arguments: Value,
    ) -> Result<Value, Failure> {
        let received = Instant::now();
        let arguments = object(arguments)?;
        let mut errors = wrong_fields(entry, &arguments, false);
        let known = entry.request_schema()["properties"].as_object();
        for field in arguments.keys().filter(|field| known.is_some_and(|known| !known.contains_key(*field))) {
            errors.push(FieldError {
                field: field.clone(),
                message: format!("{} has no field of this name", entry.name),
            });
        }
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let context = self.context(entry, project, caller.clone(), door, &arguments, received);
        (entry.run)(&context, Value::Object(arguments)).await
    }

    /// A call whose body may name the caller: an HTTP request. Fields that the operation does not have are ignored.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then, but that a request in another's name is in the audit trail.
    pub async fn call_as(
        &self,
        entry: &Entry,
        project: &Project,
        principal: &Principal,
        arguments: Value,
    ) -> Result<Value, Failure> {
        let received = Instant::now();
        let mut arguments = object(arguments)?;
        let errors = wrong_fields(entry, &arguments, true);
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let parameters = arguments.clone();
        match principal.caller(entry.body_identity, &mut arguments) {
            Ok(caller) => {
                let context = self.context(entry, project, caller, Door::Http, &parameters, received);
                (entry.run)(&context, Value::Object(arguments)).await
            }
            Err(message) => {
                let context = self.context(entry, project, principal.itself(), Door::Http, &parameters, received);
                let refusal = Refusal::IdentityMismatch { message };
                context.apply(Action::Refuse(refusal.clone())).await?;
                Err(refusal.into())
            }
        }
    }

    fn context<'a>(
        &'a self,
        entry: &Entry,
        project: &'a Project,
        caller: Caller,
        door: Door,
        parameters: &Map<String, Value>,
        received: Instant,
    ) -> Context<'a> {
        let parameters = JsonText::new(&redacted(&Value::Object(parameters.clone())));
        Context { coordinator: self, project, caller, door, operation: entry.name, parameters, received }
    }
}

/// The arguments as an object, without the fields that are null: clients write those for absent ones.
fn object(arguments: Value) -> Result<Map<String, Value>, Failure> {
    match arguments {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => Err(Failure::field("request", "must be a JSON object")),
    }
}

fn invalid(mut fields: Vec<FieldError>) -> Failure {
    // A request can be wrong in more places than anybody wants to read of.
    fields.truncate(20);
    Failure::Invalid { code: "invalid_request", fields }
}

fn wrong_fields(entry: &Entry, arguments: &Map<String, Value>, is_body: bool) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = entry
        .one_of
        .iter()
        .filter(|group| !group.iter().any(|field| arguments.contains_key(*field)))
        .map(|group| FieldError { field: group[0].to_owned(), message: format!("is required ({})", group.join(" or ")) })
        .collect();
    errors.extend(entry.schemas.errors(&Value::Object(arguments.clone()), is_body));
    if is_body && entry.body_identity != BodyIdentity::None {
        for field in NAME_FIELDS.iter().filter(|name| !errors.iter().any(|e| e.field == **name)).collect::<Vec<_>>() {
            if let Some(name) = arguments.get(*field).and_then(Value::as_str)
                && AgentId::new(name).is_err()
            {
                let message = "must be 1 to 256 bytes without control characters, and not blank".into();
                errors.push(FieldError { field: (*field).into(), message });
            }
        }
    }
    let properties = &entry.body_schema()["properties"];
    for (field, value) in arguments {
        let is_key = KEY_FIELDS.contains(&field.as_str()) && properties.get(field).is_some();
        if !is_key && !errors.iter().any(|e| e.field == *field) && holds_nul(value) {
            errors.push(FieldError { field: field.clone(), message: "has a NUL character, which cannot be stored".into() });
        }
    }
    errors
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

impl Coordinator {
    /// The context of an administrative deed, which is no operation of the doors.
    pub(crate) fn admin<'a>(
        &'a self,
        project: &'a Project,
        caller: &Caller,
        operation: &'static str,
        parameters: &Value,
    ) -> Context<'a> {
        Context {
            coordinator: self,
            project,
            caller: caller.clone(),
            door: Door::Cli,
            operation,
            parameters: JsonText::new(&redacted(parameters)),
            received: Instant::now(),
        }
    }
}
