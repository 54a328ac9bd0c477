//! The project's rules as they are applied: read from the rulebook, compiled, and looked after.
//!
//! Each process keeps the compiled rules of a project and looks at most once a second whether the rulebook has a new
//! version: a change is live everywhere within two seconds, one's own at once.
//!
//! A rule that cannot be read never opens the door. Its last version that can be read stays in force, the same one in
//! every process; a policy that never could be read leaves nothing permitted but what an admin does to put it right. Both
//! are said loudly: in the log, by `coordinator doctor`, in `/health`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::guardrails::Guard;
use cedar::{Document, Schema};
use model::id::Project;
use model::rulebook::{Rule, RuleKind};
use policy::{Action, Assignee, Code, Decision, Door, Principal, Profile, Profiles, Resource, Trust, native, place};
use store::{Store, StoreError};
use verification::Policy;

use crate::Coordinator;
use crate::failure::Failure;
use crate::guardrails;
use crate::registry;
use crate::settings::{PolicyEngine, PolicySettings};

/// How long compiled rules are applied before the rulebook is looked at again.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How far back a version is looked for that can be read.
const HISTORY_LIMIT: u32 = 100;

/// A project's rules, compiled.
pub struct Rules {
    version: i64,
    in_force: Vec<Rule>,
    /// Which profile an agent has.
    pub profiles: Profiles,
    engine: Engine,
    /// What judges commands, where the project has packs of its own or does without some.
    guard: Option<Arc<Guard>>,
    /// What is not as it was meant to be.
    pub problems: Vec<Problem>,
}

enum Engine {
    Native,
    Cedar(Box<cedar::Engine>),
    /// The policies cannot be read.
    Closed,
}

/// A version of a rule that cannot be read.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What the rule is about.
    pub kind: RuleKind,
    /// Its name.
    pub name: String,
    /// The version that cannot be read.
    pub version: i64,
    /// What is wrong with it.
    pub message: String,
    /// The version that is in force in its place, if any.
    pub instead: Option<i64>,
}

impl Problem {
    /// In a sentence.
    pub fn in_words(&self) -> String {
        let Self { kind, name, version, message, instead } = self;
        let instead = match instead {
            Some(instead) => format!("version {instead} stays in force"),
            None => "nothing is permitted by it".to_owned(),
        };
        format!("the {kind} rule {name} cannot be read in version {version}, {instead}: {message}")
    }
}

impl Rules {
    /// The rulebook's version that these are.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The rules of a kind as they are in force, by name.
    pub fn of(&self, kind: RuleKind) -> impl Iterator<Item = &Rule> {
        self.in_force.iter().filter(move |rule| rule.kind == kind)
    }

    /// What judges commands in this project.
    ///
    /// # Errors
    /// [`Failure::Internal`] when the packs that come with the program cannot be read.
    pub fn guard(&self) -> Result<Arc<Guard>, Failure> {
        // Read when it is first asked for, and once: most processes never check a command.
        static BUILTIN: LazyLock<Result<Arc<Guard>, String>> =
            LazyLock::new(|| Guard::builtin().map(Arc::new).map_err(|bad| bad.to_string()));
        match &self.guard {
            Some(guard) => Ok(guard.clone()),
            None => BUILTIN.clone().map_err(Failure::Internal),
        }
    }

    /// The engine that decides.
    pub fn engine(&self) -> PolicyEngine {
        match self.engine {
            Engine::Native => PolicyEngine::Native,
            Engine::Cedar(_) | Engine::Closed => PolicyEngine::Cedar,
        }
    }

    /// The text of a policy that a decision names.
    pub fn policy_text(&self, id: &str) -> Option<String> {
        match &self.engine {
            Engine::Cedar(engine) => engine.text_of(id),
            Engine::Native | Engine::Closed => None,
        }
    }

    /// May the principal do this with that?
    pub fn decide(&self, principal: &Principal<'_>, action: &Action, resource: Resource<'_>, door: Door) -> Decision {
        match &self.engine {
            Engine::Native => native::decide(principal, action),
            Engine::Cedar(engine) => engine.decide(principal, action, resource, door),
            Engine::Closed if principal.trust() == Trust::Admin => native::decide(principal, action),
            Engine::Closed => Decision {
                code: Some(Code::OperationNotPermitted),
                reason: "the project's policies cannot be read, so nothing is permitted: a person must put them right \
                         (coordinator doctor)"
                    .into(),
                policies: vec![],
            },
        }
    }
}

/// What turns texts into rules.
pub(crate) struct Compiler {
    settings: PolicySettings,
    schema: OnceLock<Result<Arc<Schema>, String>>,
}

impl Compiler {
    pub(crate) fn new(settings: PolicySettings) -> Self {
        Self { settings, schema: OnceLock::new() }
    }

    /// The schema that policies keep to.
    pub(crate) fn schema(&self) -> Result<Arc<Schema>, String> {
        let made = self.schema.get_or_init(|| {
            let actions = registry::actions();
            let schema = match &self.settings.schema {
                Some(own) => Schema::read(own.clone(), &actions),
                None => Schema::of(&actions),
            };
            schema.map(Arc::new).map_err(|bad| format!("the Cedar schema cannot be used: {bad}"))
        });
        made.clone()
    }

    /// What is wrong with the files of policies and the schema, when they are to be used.
    pub(crate) fn mistakes_of_files(&self) -> Vec<String> {
        if self.settings.schema.is_none() && self.settings.files.is_empty() {
            return vec![];
        }
        let schema = match self.schema() {
            Ok(schema) => schema,
            Err(why) => return vec![format!("CEDAR_SCHEMA_PATH: {why}")],
        };
        let documents = self.documents(&[], None);
        let told = |mistake: &cedar::Mistake| format!("POLICY_FILES: {mistake}");
        cedar::Engine::new(schema, &documents).err().iter().flatten().map(told).collect()
    }

    /// What is wrong with the text of a rule, each as `LINE:COLUMN: WHAT`.
    pub(crate) fn mistakes(&self, kind: RuleKind, name: &str, body: &str) -> Vec<String> {
        match kind {
            RuleKind::Policy => match self.schema() {
                Ok(schema) => match cedar::Engine::new(schema, &[Document { name, text: body }]) {
                    Ok(_) => vec![],
                    Err(mistakes) => {
                        mistakes.iter().map(|m| in_words(m.line, m.column, &m.message, m.help.as_deref())).collect()
                    }
                },
                Err(why) => vec![why],
            },
            RuleKind::Profile => match Profile::parse(name, body) {
                Ok(_) => vec![],
                Err(bad) => {
                    let (line, column) = place(body, bad.span.map_or(0, |span| span.start));
                    vec![in_words(line, column, &bad.message, None)]
                }
            },
            RuleKind::Assignment if Assignee::parse(name).is_none() => {
                vec!["must be assigned to agent:NAME or type:NAME".into()]
            }
            RuleKind::Assignment => vec![],
            RuleKind::Guardrails => guardrails::mistakes(name, body),
            RuleKind::Network => crate::network::mistakes(name, body),
            RuleKind::Verification => Policy::parse(name, body).err().map(|bad| bad.0).unwrap_or_default(),
        }
    }

    /// The rules of a project without any.
    fn compile(&self, version: i64, in_force: Vec<Rule>, mut problems: Vec<Problem>) -> Rules {
        let mut profiles = Profiles::new(self.settings.default_trust);
        for rule in &in_force {
            let Some(body) = &rule.body else { continue };
            match rule.kind {
                RuleKind::Profile => {
                    // What cannot be read trusts nobody.
                    let profile = Profile::parse(&rule.name, body);
                    profiles.put(profile.unwrap_or_else(|_| Profile::new(&rule.name, Trust::Untrusted, "")));
                }
                RuleKind::Assignment => {
                    if let Some(to) = Assignee::parse(&rule.name) {
                        profiles.assign(to, body);
                    }
                }
                RuleKind::Policy | RuleKind::Network | RuleKind::Guardrails | RuleKind::Verification => {}
            }
        }
        let engine = match self.settings.engine {
            PolicyEngine::Native => Engine::Native,
            PolicyEngine::Cedar => self.cedar(&in_force).unwrap_or_else(|why| {
                problems.push(Problem {
                    kind: RuleKind::Policy,
                    name: "all".into(),
                    version,
                    message: why,
                    instead: None,
                });
                Engine::Closed
            }),
        };
        let packs = in_force.iter().filter(|rule| rule.kind == RuleKind::Guardrails);
        let packs: Vec<_> = packs.filter_map(|rule| Some((rule.name.as_str(), rule.body.as_deref()?))).collect();
        let guard = match packs.is_empty() {
            true => None,
            false => match guardrails::compile(packs.into_iter()) {
                Ok(guard) => Some(Arc::new(guard)),
                Err(message) => {
                    let (kind, name) = (RuleKind::Guardrails, "all".into());
                    problems.push(Problem { kind, name, version, message, instead: None });
                    None
                }
            },
        };
        Rules { version, in_force, profiles, engine, guard, problems }
    }

    fn cedar(&self, rules: &[Rule]) -> Result<Engine, String> {
        let documents = self.documents(rules, None);
        let told =
            |mistakes: Vec<cedar::Mistake>| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Ok(Engine::Cedar(Box::new(cedar::Engine::new(self.schema()?, &documents).map_err(told)?)))
    }

    /// The policies: of the files, of the rulebook where it has one of the same name, and a draft in the place of its
    /// namesake.
    pub(crate) fn documents<'a>(&'a self, rules: &'a [Rule], draft: Option<Document<'a>>) -> Vec<Document<'a>> {
        let files = self.settings.files.iter().map(|file| Document { name: &file.name, text: &file.text });
        let own = rules.iter().filter(|rule| rule.kind == RuleKind::Policy);
        let own = own.filter_map(|rule| Some(Document { name: &rule.name, text: rule.body.as_deref()? }));
        let mut documents: Vec<Document<'a>> = vec![];
        for document in files.chain(own).chain(draft) {
            documents.retain(|earlier| earlier.name != document.name);
            documents.push(document);
        }
        documents
    }

    /// Reads a project's rules: of each the latest version that makes sense.
    async fn read(&self, store: &dyn Store, project: &Project) -> Result<Rules, StoreError> {
        // First of all: what comes between is found the next time.
        let version = store.rules_version(project).await?;
        let (mut in_force, mut problems) = (vec![], vec![]);
        for rule in store.rules(project).await? {
            let mistakes = self.mistakes(rule.kind, &rule.name, rule.body.as_deref().unwrap_or_default());
            if mistakes.is_empty() {
                in_force.push(rule);
                continue;
            }
            let history = store.rule_history(project, rule.kind, &rule.name, HISTORY_LIMIT).await?;
            let good = history.into_iter().find(|earlier| {
                let body = earlier.body.as_deref();
                body.is_some_and(|body| self.mistakes(earlier.kind, &earlier.name, body).is_empty())
            });
            let problem = Problem {
                kind: rule.kind,
                name: rule.name.clone(),
                version: rule.version,
                message: mistakes.join("; "),
                instead: good.as_ref().map(|good| good.version),
            };
            tracing::error!(
                %project, kind = %problem.kind, name = problem.name, version = problem.version,
                instead = ?problem.instead, why = problem.message, "a rule cannot be read"
            );
            problems.push(problem);
            // Without a good version the bad one stays: it fails again where it is compiled, and closes.
            in_force.push(good.unwrap_or(rule));
        }
        Ok(self.compile(version, in_force, problems))
    }
}

fn in_words(line: usize, column: usize, message: &str, help: Option<&str>) -> String {
    let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
    format!("line {line}, column {column}: {message}{help}")
}

/// The compiled rules of the projects that this process has to do with.
pub(crate) struct RuleWatch {
    pub(crate) compiler: Compiler,
    /// Those of projects that have no rules of their own.
    usual: Arc<Rules>,
    projects: Mutex<HashMap<Project, Watched>>,
}

struct Watched {
    rules: Arc<Rules>,
    looked_at: Instant,
}

impl RuleWatch {
    pub(crate) fn new(settings: PolicySettings) -> Self {
        let compiler = Compiler::new(settings);
        let usual = Arc::new(compiler.compile(0, vec![], vec![]));
        for problem in &usual.problems {
            tracing::error!(why = problem.message, "the policies cannot be read");
        }
        Self { compiler, usual, projects: Mutex::default() }
    }

    /// The rules as last seen, and whether somebody should look again. Whoever is told so does, and others go on
    /// meanwhile.
    fn last_seen(&self, project: &Project) -> Option<(Arc<Rules>, Sight)> {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = projects.get_mut(project)?;
        if watched.looked_at.elapsed() < FRESH_FOR {
            return Some((watched.rules.clone(), Sight::Fresh));
        }
        watched.looked_at = Instant::now();
        Some((watched.rules.clone(), Sight::Stale))
    }

    /// Is there a rule in any project at hand that cannot be read?
    fn is_broken(&self) -> bool {
        let projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        !self.usual.problems.is_empty() || projects.values().any(|watched| !watched.rules.problems.is_empty())
    }

    fn see(&self, project: &Project, rules: Arc<Rules>) {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = projects.get_mut(project) {
            watched.rules = rules;
        } else {
            projects.insert(project.clone(), Watched { rules, looked_at: Instant::now() });
        }
    }

    /// Looks again at the next call: a change of ours works at once.
    pub(crate) fn forget(&self, project: &Project) {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).remove(project);
    }
}

#[derive(PartialEq, Eq)]
enum Sight {
    Fresh,
    Stale,
}

impl Coordinator {
    /// The project's rules, at most a second old.
    ///
    /// # Errors
    /// [`StoreError`] when they were never read and cannot be read now.
    pub async fn rules(&self, project: &Project) -> Result<Arc<Rules>, StoreError> {
        let watch = &self.rule_watch;
        let known = match watch.last_seen(project) {
            Some((rules, Sight::Fresh)) => return Ok(rules),
            Some((rules, Sight::Stale)) => Some(rules),
            None => None,
        };
        let looked = self.look(project, known.as_deref()).await;
        match (looked, known) {
            (Ok(Some(rules)), _) => {
                watch.see(project, rules.clone());
                Ok(rules)
            }
            (Ok(None), Some(known)) => Ok(known),
            // What needs the database will say so.
            (Err(error), Some(known)) => {
                tracing::warn!(%error, %project, "cannot look whether the rules have changed: the last ones stay");
                Ok(known)
            }
            (Ok(None), None) => Ok(watch.usual.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// Is there a rule, in a project that this process has to do with, that cannot be read?
    pub fn has_broken_rules(&self) -> bool {
        self.rule_watch.is_broken()
    }

    /// The rules, if they are others than those that are known.
    async fn look(&self, project: &Project, known: Option<&Rules>) -> Result<Option<Arc<Rules>>, StoreError> {
        let version = self.store().rules_version(project).await?;
        match known {
            Some(known) if known.version == version => Ok(None),
            _ if version == 0 => Ok(Some(self.rule_watch.usual.clone())),
            _ => Ok(Some(Arc::new(self.rule_watch.compiler.read(self.store(), project).await?))),
        }
    }
}
