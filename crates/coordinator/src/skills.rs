//! Skills: which ways of doing things work, as far as their use tells.

use jiff::Timestamp;
use model::command::{Action, Outcome};
use model::skills::{Effectiveness, Skill};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::operation::{Access, Context, Operation, Route};
use crate::redact::kept;

/// Counts a use.
pub struct RecordSkillUse;

/// Of what, and how it went.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RecordRequest {
    #[schemars(length(min = 1, max = 256))]
    skill_name: String,
    /// Did it work?
    success: bool,
    #[schemars(length(max = 2000))]
    description: Option<String>,
    #[schemars(length(max = 50), inner(length(min = 1, max = 1000)))]
    steps: Option<Vec<String>>,
    /// What it was used for
    #[schemars(length(max = 256))]
    task_type: Option<String>,
}

/// What is known of the skill now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordAnswer {
    success: bool,
    skill_name: String,
    #[serde(flatten)]
    record: Record,
}

/// How often a skill was used, and how good that makes it.
#[derive(Debug, Serialize, JsonSchema)]
struct Record {
    uses: u32,
    successes: u32,
    /// The share of uses that worked.
    effectiveness: f64,
    /// It hardly works less often (95 %): few uses tell little.
    lower_bound: f64,
    /// It hardly works more often.
    upper_bound: f64,
}

impl Record {
    fn of((uses, successes): (u32, u32)) -> Self {
        let short = |number: f64| (number * 1000.0).round() / 1000.0;
        let Effectiveness { rate, low, high } = Effectiveness::of(uses, successes);
        Self { uses, successes, effectiveness: short(rate), lower_bound: short(low), upper_bound: short(high) }
    }
}

impl Operation for RecordSkillUse {
    type Request = RecordRequest;
    type Answer = RecordAnswer;
    const NAME: &'static str = "record_skill_use";
    const SUMMARY: &'static str = "Record how a skill (a way of doing things) went.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/memory/skills/use")];

    async fn run(context: &Context<'_>, request: RecordRequest) -> Result<RecordAnswer, Failure> {
        let skill_name = kept(request.skill_name.trim());
        if skill_name.is_empty() {
            return Err(Failure::field("skill_name", "must not be blank"));
        }
        let used = model::skills::RecordSkillUse {
            skill_name: skill_name.clone(),
            task_type: request.task_type.as_deref().map(|text| kept(text.trim())).unwrap_or_default(),
            success: request.success,
            description: request.description.as_deref().map(kept),
            steps: request.steps.map(|steps| steps.iter().map(|step| kept(step)).collect()),
        };
        match context.apply(Action::RecordSkillUse(used)).await? {
            Outcome::SkillUsed { uses, successes } => {
                Ok(RecordAnswer { success: true, skill_name, record: Record::of((uses, successes)) })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows skills.
pub struct RecallSkills;

/// What for.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SkillsRequest {
    /// Default any
    #[schemars(length(max = 256))]
    task_type: Option<String>,
    /// Default 10
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// Skills, the one that most surely works first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SkillsAnswer {
    skills: Vec<SkillView>,
}

/// A skill, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SkillView {
    skill_name: String,
    description: Option<String>,
    steps: Vec<String>,
    /// What it was used for.
    task_types: Vec<String>,
    #[serde(flatten)]
    record: Record,
    #[schemars(with = "String")]
    last_used_at: Timestamp,
}

impl Operation for RecallSkills {
    type Request = SkillsRequest;
    type Answer = SkillsAnswer;
    const NAME: &'static str = "recall_skills";
    const SUMMARY: &'static str = "List skills, the surest to work first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/memory/skills/query")];

    async fn run(context: &Context<'_>, request: SkillsRequest) -> Result<SkillsAnswer, Failure> {
        let wanted = request.task_type.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let record_of = |skill: &Skill| match wanted {
            Some(task_type) => skill.record_for(task_type),
            None => Some(skill.total()),
        };
        let skills = context.coordinator.store().skills(context.project).await?;
        let mut skills: Vec<((u32, u32), Skill)> =
            skills.into_iter().filter_map(|skill| Some((record_of(&skill)?, skill))).collect();
        let low = |(uses, successes): (u32, u32)| Effectiveness::of(uses, successes).low;
        skills.sort_by(|(a, one), (b, other)| {
            low(*b).total_cmp(&low(*a)).then_with(|| (b.0, &one.skill_name).cmp(&(a.0, &other.skill_name)))
        });
        skills.truncate(request.limit.unwrap_or(10) as usize);
        Ok(SkillsAnswer { skills: skills.into_iter().map(|(record, skill)| SkillView::of(record, skill)).collect() })
    }
}

impl SkillView {
    fn of(record: (u32, u32), skill: Skill) -> Self {
        let task_types = skill.tallies.into_iter().map(|tally| tally.task_type).filter(|name| !name.is_empty());
        Self {
            skill_name: skill.skill_name,
            description: skill.description,
            steps: skill.steps,
            task_types: task_types.collect(),
            record: Record::of(record),
            last_used_at: skill.last_used_at,
        }
    }
}
