//! The engine: a set of policies that are known to be good, and the question.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Entity, EntityId, EntityUid, PolicyId, PolicySet, Request, Response, RestrictedExpression,
    ValidationMode, Validator,
};
use policy::native::{bounds, distrust};
use policy::{Action, Code, Decision, Door, Principal, Resource, ResourceKind};

use crate::mistakes::Mistake;
use crate::schema::Schema;
use crate::{DEFAULT, DEFAULT_NAME};

/// Policies under a name.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The name.
    pub name: &'a str,
    /// One policy or several.
    pub text: &'a str,
}

/// A set of policies, and the schema that they keep to.
pub struct Engine {
    schema: Arc<Schema>,
    policies: PolicySet,
    authorizer: Authorizer,
}

impl Engine {
    /// With these policies beside the default ones, or in their place where one of them is called `default`.
    ///
    /// # Errors
    /// Every mistake of every document.
    pub fn new(schema: Arc<Schema>, documents: &[Document<'_>]) -> Result<Self, Vec<Mistake>> {
        let has_default = documents.iter().any(|document| document.name == DEFAULT_NAME);
        let default = (!has_default).then_some(Document { name: DEFAULT_NAME, text: DEFAULT });
        let (mut policies, mut mistakes) = (PolicySet::new(), vec![]);
        for document in default.iter().chain(documents) {
            match read(&schema, document) {
                Ok(own) => {
                    for policy in own.policies() {
                        if let Err(error) = policies.add(policy.clone()) {
                            mistakes.push(Mistake::at_the_beginning(document.name, error.to_string()));
                        }
                    }
                }
                Err(own) => mistakes.extend(own),
            }
        }
        if mistakes.is_empty() { Ok(Self { schema, policies, authorizer: Authorizer::new() }) } else { Err(mistakes) }
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.num_of_policies()
    }

    /// Is everything refused?
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The text of a policy by the id that a decision names.
    pub fn text_of(&self, id: &str) -> Option<String> {
        self.policies.policy(&PolicyId::new(id)).map(ToString::to_string)
    }

    /// May the principal do this with that?
    pub fn decide(&self, principal: &Principal<'_>, action: &Action, resource: Resource<'_>, door: Door) -> Decision {
        if let Some(refusal) = bounds(principal, action) {
            return refusal;
        }
        match self.ask(principal, action, resource, door) {
            Ok(response) => self.told(principal, action, &response),
            Err(why) => Decision {
                code: Some(Code::OperationNotPermitted),
                reason: format!("the policies could not be asked: {why}").into(),
                policies: vec![],
            },
        }
    }

    fn told(&self, principal: &Principal<'_>, action: &Action, response: &Response) -> Decision {
        let diagnostics = response.diagnostics();
        // Cedar passes over a policy that fails, be it one that forbids.
        let failed: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        if !failed.is_empty() {
            return Decision {
                code: Some(Code::OperationNotPermitted),
                reason: format!("a policy failed, so nothing is permitted: {}", failed.join("; ")).into(),
                policies: vec![],
            };
        }
        let mut policies: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        policies.sort();
        match response.decision() {
            cedar_policy::Decision::Allow => Decision { code: None, reason: "a policy permits it".into(), policies },
            cedar_policy::Decision::Deny if !policies.is_empty() => Decision {
                code: Some(Code::OperationNotPermitted),
                reason: format!("{} is forbidden by policy {}", action.name, policies.join(", ")).into(),
                policies,
            },
            cedar_policy::Decision::Deny if principal.trust() < action.level => distrust(principal, action),
            cedar_policy::Decision::Deny => Decision {
                code: Some(Code::OperationNotPermitted),
                reason: format!("no policy permits {} to {}", action.name, principal.agent_id).into(),
                policies,
            },
        }
    }

    fn ask(
        &self,
        principal: &Principal<'_>,
        action: &Action,
        resource: Resource<'_>,
        door: Door,
    ) -> Result<Response, String> {
        let Schema { actions, agent, kinds, .. } = &*self.schema;
        let known = actions.get(action.name).ok_or_else(|| format!("the schema has no action {}", action.name))?;
        // What an operation is not done with cannot be in a policy on it.
        let kind = if resource.kind == action.resource { resource.kind } else { ResourceKind::Project };
        let kind = kinds.get(&kind).ok_or("the schema lacks a kind of resource")?;
        let who = EntityUid::from_type_name_and_id(agent.clone(), EntityId::new(principal.agent_id));
        let what = EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(resource.id));
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let agent = HashMap::from([
            ("agent_id".to_owned(), text(principal.agent_id)),
            ("agent_type".to_owned(), text(principal.agent_type)),
            ("profile".to_owned(), text(&principal.profile.name)),
            ("trust".to_owned(), RestrictedExpression::new_long(principal.trust().level().into())),
        ]);
        let thing = HashMap::from([("id".to_owned(), text(resource.id))]);
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let agent = Entity::new(who.clone(), agent, HashSet::new()).map_err(|e| told(&e))?;
        let thing = Entity::new(what.clone(), thing, HashSet::new()).map_err(|e| told(&e))?;
        let entities = known.entities.clone().add_entities([agent, thing], None).map_err(|e| told(&e))?;
        let mut context = vec![("door".to_owned(), text(door.as_str()))];
        context.extend(principal.session_id.map(|session| ("session_id".to_owned(), text(session))));
        let context = Context::from_pairs(context).map_err(|e| told(&e))?;
        let request = Request::new(who, known.uid.clone(), what, context, None).map_err(|e| told(&e))?;
        Ok(self.authorizer.is_authorized(&request, &self.policies, &entities))
    }
}

/// The policies of a document under ids of their own: `NAME` for the only one, else `NAME/ID` for one that is annotated
/// with `@id`, else `NAME/NUMBER`.
fn read(schema: &Schema, document: &Document<'_>) -> Result<PolicySet, Vec<Mistake>> {
    let Document { name, text } = *document;
    let parsed: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|e| Mistake::of(name, text, e)).collect::<Vec<_>>()
    })?;
    if parsed.num_of_templates() > 0 {
        return Err(vec![Mistake::at_the_beginning(
            name,
            "a template (?principal, ?resource) is nothing here: write a policy",
        )]);
    }
    let validated = Validator::new(schema.schema.clone()).validate(&parsed, ValidationMode::Strict);
    let mistakes: Vec<Mistake> = validated.validation_errors().map(|e| Mistake::of(name, text, e)).collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    // Parsed policies are called policy0, policy1 and so on.
    let number = |id: &PolicyId| id.to_string().trim_start_matches("policy").parse::<usize>().unwrap_or_default();
    let only = parsed.num_of_policies() == 1;
    let mut named = PolicySet::new();
    for policy in parsed.policies() {
        let id = match policy.annotation("id") {
            Some(id) if !id.is_empty() => format!("{name}/{id}"),
            _ if only => name.to_owned(),
            _ => format!("{name}/{}", number(policy.id()) + 1),
        };
        if let Err(error) = named.add(policy.new_id(PolicyId::new(&id))) {
            return Err(vec![Mistake::at_the_beginning(name, error.to_string())]);
        }
    }
    Ok(named)
}
