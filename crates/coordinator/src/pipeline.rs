//! The way of every call, whichever door it came through: validate, identify, authorise, run, audit.

use std::time::Instant;

use model::JsonText;
use model::command::{Action, Refusal};
use model::id::{Caller, Project};
use model::limits::Limits;
use policy::Vouched;
use serde_json::{Map, Value};

use crate::Coordinator;
use crate::authorise::{Vouching, authorise, nobody};
use crate::failure::{Failure, FieldError};
use crate::identity::{Named, Principal};
use crate::operation::{BodyIdentity, Context, Door, Entry};
use crate::redact::{Redacted, take_secrets};

/// The fields that hold lock keys. They say for themselves what is wrong with a text, also with one that no database
/// can store.
const KEY_FIELDS: [&str; 2] = ["file_path", "file_paths"];

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
        let mut arguments = object(arguments)?;
        let mut errors = wrong_fields(entry, &arguments, false);
        errors.extend(unknown_fields(entry, &arguments));
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let redacted = take_secrets(&mut arguments).map_err(invalid)?;
        let parameters = JsonText::new(&Redacted(&arguments));
        let mut context = self.context(entry, project, caller.clone(), door, parameters, received);
        // It runs where the database is, or the door has made sure.
        authorise(&mut context, entry, Vouching::ALL, &arguments).await?;
        let answer = (entry.run)(&context, arguments).await?;
        Ok(telling(answer, redacted))
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
        let redacted = take_secrets(&mut arguments).map_err(invalid)?;
        let parameters = JsonText::new(&Redacted(&arguments));
        let named = take_names(entry, &mut arguments).map_err(invalid)?;
        let context = self.context(entry, project, principal.itself(), Door::Http, parameters, received);
        let answer = run_as(context, entry, principal, named, arguments).await?;
        Ok(telling(answer, redacted))
    }

    /// A tool call over HTTP: `named` is who the request's headers name, and the arguments may name another. A field that
    /// the operation does not have is an error.
    ///
    /// # Errors
    /// As [`Self::call_as`].
    pub async fn call_tool_as(
        &self,
        entry: &Entry,
        project: &Project,
        principal: &Principal,
        named: &Named,
        arguments: Value,
    ) -> Result<Value, Failure> {
        let received = Instant::now();
        let mut arguments = object(arguments)?;
        let redacted = take_secrets(&mut arguments).map_err(invalid)?;
        let parameters = JsonText::new(&Redacted(&arguments));
        let (own, mut errors) = match take_names(entry, &mut arguments) {
            Ok(own) => (own, vec![]),
            Err(errors) => (Named::default(), errors),
        };
        errors.extend(wrong_fields(entry, &arguments, false));
        errors.extend(unknown_fields(entry, &arguments));
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let context = self.context(entry, project, principal.itself(), Door::Mcp, parameters, received);
        let answer = run_as(context, entry, principal, own.or(named), arguments).await?;
        Ok(telling(answer, redacted))
    }

    /// The context of what GitHub leads to, in the name of an agent that is named there: it may do what its profile says,
    /// and nobody vouches for it. `parameters` are what it does, for authorisation and for the trail.
    pub(crate) async fn call_from_github<'a>(
        &'a self,
        entry: &Entry,
        project: &'a Project,
        caller: &Caller,
        mut parameters: Value,
    ) -> Result<Context<'a>, Failure> {
        let received = Instant::now();
        take_secrets(&mut parameters).map_err(invalid)?;
        let kept = JsonText::new(&Redacted(&parameters));
        let mut context = self.context(entry, project, caller.clone(), Door::Github, kept, received);
        authorise(&mut context, entry, Vouching::NONE, &parameters).await?;
        Ok(context)
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
        Context {
            coordinator: self,
            project,
            caller,
            door,
            profile: nobody(),
            vouched: Vouched::ByNobody,
            limits: Limits::NONE,
            operation: entry.name,
            parameters,
            received,
        }
    }
}

/// Runs it for whom the request names. A request in another's name, or for what its key is not for, is refused, and the
/// refusal is in the audit trail.
async fn run_as(
    mut context: Context<'_>,
    entry: &Entry,
    principal: &Principal,
    named: Named,
    arguments: Value,
) -> Result<Value, Failure> {
    let caller = principal.caller(named).map_err(|message| Refusal::IdentityMismatch { message }).and_then(|caller| {
        principal
            .permits(entry)
            .map_err(|message| Refusal::OperationNotPermitted { message, policies: vec![] })
            .map(|()| caller)
    });
    match caller {
        Ok(caller) => {
            context.caller = caller;
            authorise(&mut context, entry, principal.vouching(), &arguments).await?;
            (entry.run)(&context, arguments).await
        }
        Err(refusal) => {
            context.apply(Action::Refuse(refusal.clone())).await?;
            Err(refusal.into())
        }
    }
}

/// The answer, which tells from which fields of the request secrets were taken.
fn telling(mut answer: Value, redacted: Vec<String>) -> Value {
    if let Some(answer) = answer.as_object_mut()
        && !redacted.is_empty()
    {
        answer.insert("redacted".into(), redacted.into());
    }
    answer
}

/// Takes out of the arguments who is calling, where the operation lets them say so.
fn take_names(entry: &Entry, arguments: &mut Value) -> Result<Named, Vec<FieldError>> {
    if entry.body_identity == BodyIdentity::None {
        return Ok(Named::default());
    }
    let fields = match entry.body_identity {
        BodyIdentity::WithoutSession => &Named::FIELDS[..2],
        _ => &Named::FIELDS[..],
    };
    let Some(arguments) = arguments.as_object_mut() else { return Ok(Named::default()) };
    names(&fields.iter().filter_map(|field| arguments.remove_entry(*field)).collect())
}

fn names(arguments: &Value) -> Result<Named, Vec<FieldError>> {
    // What is no text is no name either.
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Named::read(|field| arguments.get(field).map(text))
}

/// The arguments as an object, without the fields that are null: clients write those for absent ones.
fn object(arguments: Value) -> Result<Value, Failure> {
    match arguments {
        Value::Null => Ok(Value::Object(Map::new())),
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            let mut fields = Value::Object(fields);
            // What is kept or compared must not depend on the order in which a client names its fields.
            fields.sort_all_objects();
            Ok(fields)
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
        for error in names(arguments).err().unwrap_or_default() {
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
        let is_key = entry.action.resource == policy::ResourceKind::Key
            && KEY_FIELDS.contains(&field.as_str())
            && properties.get(field).is_some();
        if !is_key && holds_nul(value) && !errors.iter().any(|e| e.field == *field) {
            errors.push(FieldError {
                field: field.clone(),
                message: "has a NUL character, which cannot be stored".into(),
            });
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
            profile: nobody(),
            vouched: Vouched::For,
            limits: Limits::NONE,
            operation,
            parameters: JsonText::new(&Redacted(parameters)),
            received: Instant::now(),
        }
    }
}
