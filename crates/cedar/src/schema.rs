//! The schema: what a policy can speak of. It is made of the operations there are.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid};
use policy::{Action, ResourceKind, Trust};

/// What precedes the actions.
const HEAD: &str = "\
// What the coordinator asks of policies. Made of its operations: `coordinator policy schema` prints it.

// Who asks. `trust` is the level that its profile gives it, 0 to 4.
entity Agent = { agent_id: String, agent_type: String, profile: String, trust: Long };

// What an operation is done with; the project where it is nothing in particular. `id` is its name: policies can compare
// it with a pattern, as in `resource.id like \"src/*\"`.
";

/// What every call comes with.
const CONTEXT: &str = "{ door: String, session_id?: String }";

/// A schema that names every operation.
pub struct Schema {
    pub(crate) schema: cedar_policy::Schema,
    pub(crate) actions: HashMap<&'static str, KnownAction>,
    pub(crate) agent: EntityTypeName,
    pub(crate) kinds: HashMap<ResourceKind, EntityTypeName>,
    text: String,
}

/// An action with the groups that it is in.
pub(crate) struct KnownAction {
    pub(crate) uid: EntityUid,
    pub(crate) entities: Entities,
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(pub String);

impl Schema {
    /// The schema of these operations.
    ///
    /// # Errors
    /// [`BadSchema`] should an operation have a name that Cedar does not take.
    pub fn of(actions: &[Action]) -> Result<Self, BadSchema> {
        Self::read(text_of(actions), actions)
    }

    /// A schema of somebody's own, which must name every operation.
    ///
    /// # Errors
    /// [`BadSchema`] with what is wrong.
    pub fn read(text: String, actions: &[Action]) -> Result<Self, BadSchema> {
        let bad = |error: &dyn std::fmt::Display| BadSchema(error.to_string());
        let schema = cedar_policy::Schema::from_cedarschema_str(&text).map_err(|e| bad(&e))?.0;
        let entities = schema.action_entities().map_err(|e| bad(&e))?;
        let mut known = HashMap::new();
        for action in actions {
            let uid = action_uid(action.name)?;
            let Some(entity) = entities.get(&uid) else {
                return Err(BadSchema(format!("it has no action \"{}\"", action.name)));
            };
            let groups: Vec<EntityUid> = entities.ancestors(&uid).into_iter().flatten().cloned().collect();
            let groups = groups.iter().filter_map(|group| entities.get(group)).cloned();
            let own = Entities::from_entities(groups.chain([entity.clone()]), None).map_err(|e| bad(&e))?;
            known.insert(action.name, KnownAction { uid, entities: own });
        }
        let mut kinds = HashMap::new();
        for kind in ResourceKind::ALL {
            kinds.insert(kind, EntityTypeName::from_str(kind.as_str()).map_err(|e| bad(&e))?);
        }
        Ok(Self { schema, actions: known, agent: EntityTypeName::from_str("Agent").map_err(|e| bad(&e))?, kinds, text })
    }

    /// As text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn action_uid(name: &str) -> Result<EntityUid, BadSchema> {
    let kind = EntityTypeName::from_str("Action").map_err(|error| BadSchema(error.to_string()))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(name)))
}

/// The schema's text.
fn text_of(actions: &[Action]) -> String {
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    for kind in ResourceKind::ALL {
        let _ = writeln!(text, "entity {} = {{ id: String }};", kind.as_str());
    }
    text += "\n// Operations by the trust that they need, and those that change nothing.\n";
    let groups: Vec<String> = Trust::ALL.iter().map(|trust| format!("\"trust_{}\"", trust.level())).collect();
    let _ = writeln!(text, "action {}, \"reads\";\n", groups.join(", "));
    for action in actions {
        let mut parents = format!("\"trust_{}\"", action.level.level());
        if action.reads {
            parents += ", \"reads\"";
        }
        let resources = match action.resource {
            ResourceKind::Project => "Project".to_owned(),
            kind => format!("Project, {}", kind.as_str()),
        };
        let _ = writeln!(
            text,
            "action \"{}\" in [{parents}] appliesTo {{ principal: [Agent], resource: [{resources}], context: {CONTEXT} }};",
            action.name
        );
    }
    text
}
