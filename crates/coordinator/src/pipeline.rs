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
use crate::redact::Redacted;

/// The fields that hold lock keys. They say for themselves what is wrong with a text, also with one that no database
/// can store.
const KEY_FIELDS: [&str; 2] = ["file_path", "file_paths"];

/// The fields by which a body names its caller.
const NAME_FIELDS: [&str; 3] = ["agent_id", "agent_type", "session_id"];

/// A request can be wrong in more places than anybody wants to read of.
const ERRORS_LIMIT: usize = 20;

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
        errors.extend(unknown_fields(entry, &arguments));
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let parameters = JsonText::new(&Redacted(&arguments));
        let context = self.context(entry, project, caller.clone(), door, parameters, received);
        (entry.run)(&context, arguments).await
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
        // A tool call may have no arguments; a body that is sent says something.
        let mut arguments = if arguments.is_null() { Err(no_object()) } else { object(arguments) }?;
        let errors = wrong_fields(entry, &arguments, true);
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let parameters = JsonText::new(&Redacted(&arguments));
        let named = principal.caller(entry.body_identity, arguments.as_object_mut().unwrap_or(&mut Map::new()));
        match named {
            Ok(caller) => {
                let context = self.context(entry, project, caller, Door::Http, parameters, received);
                (entry.run)(&context, arguments).await
            }
            Err(message) => {
                let context = self.context(entry, project, principal.itself(), Door::Http, parameters, received);
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
        parameters: JsonText,
        received: Instant,
    ) -> Context<'a> {
        Context { coordinator: self, project, caller, door, operation: entry.name, parameters, received }
    }
}

/// The arguments as an object, without the fields that are null: clients write those for absent ones.
fn object(arguments: Value) -> Result<Value, Failure> {
    match arguments {
        Value::Null => Ok(Value::Object(Map::new())),
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            Ok(Value::Object(fields))
        }
        _ => Err(no_object()),
    }
}

fn no_object() -> Failure {
    Failure::field("request", "must be a JSON object")
}

fn invalid(mut fields: Vec<FieldError>) -> Failure {
    fields.truncate(ERRORS_LIMIT);
    Failure::Invalid { code: "invalid_request", fields }
}

fn unknown_fields(entry: &Entry, arguments: &Value) -> impl Iterator<Item = FieldError> {
    let known = &entry.request_schema()["properties"];
    fields(arguments)
        .map(|(field, _)| field)
        .filter(|field| known.get(field).is_none())
        .map(|field| FieldError { field: field.clone(), message: format!("{} has no field of this name", entry.name) })
}

fn fields(arguments: &Value) -> impl Iterator<Item = (&String, &Value)> {
    arguments.as_object().into_iter().flatten()
}

fn wrong_fields(entry: &Entry, arguments: &Value, is_body: bool) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = entry
        .one_of
        .iter()
        .filter(|group| !group.iter().any(|field| arguments.get(field).is_some()))
        .map(|group| FieldError {
            field: group[0].to_owned(),
            message: format!("is required ({})", group.join(" or ")),
        })
        .collect();
    errors.extend(entry.schemas.errors(arguments, is_body, ERRORS_LIMIT));
    if is_body && entry.body_identity != BodyIdentity::None {
        for error in wrong_names(arguments) {
            if !errors.iter().any(|earlier| earlier.field == error.field) {
                errors.push(error);
            }
        }
    }
    let properties = &entry.body_schema()["properties"];
    for (field, value) in fields(arguments) {
        if errors.len() >= ERRORS_LIMIT {
            break;
        }
        let is_key = KEY_FIELDS.contains(&field.as_str()) && properties.get(field).is_some();
        if !is_key && holds_nul(value) && !errors.iter().any(|e| e.field == *field) {
            errors.push(FieldError {
                field: field.clone(),
                message: "has a NUL character, which cannot be stored".into(),
            });
        }
    }
    errors
}

fn wrong_names(arguments: &Value) -> impl Iterator<Item = FieldError> {
    let is_wrong = |field: &&str| arguments[*field].as_str().is_some_and(|name| AgentId::new(name).is_err());
    NAME_FIELDS.into_iter().filter(is_wrong).map(|field| FieldError {
        field: field.into(),
        message: "must be 1 to 256 bytes without control characters, and not blank".into(),
    })
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
            parameters: JsonText::new(&Redacted(parameters)),
            received: Instant::now(),
        }
    }
}
