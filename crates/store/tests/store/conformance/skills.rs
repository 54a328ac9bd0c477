//! Skills: how often they were used, and how often they worked.

use model::command::Outcome;
use model::skills::{RecordSkillUse, Skill, Tally};

use crate::harness::*;

cases!(
    uses_are_counted_by_type_of_task,
    what_is_said_later_of_a_skill_counts,
    skills_are_listed_last_used_first,
    skills_are_the_projects,
);

fn used(name: &str, task_type: &str, success: bool) -> RecordSkillUse {
    RecordSkillUse { skill_name: name.into(), task_type: task_type.into(), success, description: None, steps: None }
}

async fn skills(world: &World) -> Vec<Skill> {
    world.store.skills(&world.project).await.unwrap()
}

async fn uses_are_counted_by_type_of_task(world: &World) {
    let ann = agent("ann");
    for (number, (task_type, success)) in
        [("b", true), ("", false), ("b", false), ("Z", true), ("ä", true)].into_iter().enumerate()
    {
        let uses = number as u32 + 1;
        let Outcome::SkillUsed { uses: counted, .. } = world.run(&ann, used("canary", task_type, success)).await else {
            panic!("not counted")
        };
        assert_eq!(counted, uses);
    }
    let outcome = world.run(&agent("bob"), used("canary", "b", true)).await;
    assert_eq!(outcome, Outcome::SkillUsed { uses: 6, successes: 4 });
    let tally = |task_type: &str, uses, successes| Tally { task_type: task_type.into(), uses, successes };
    assert_eq!(
        skills(world).await,
        [Skill {
            skill_name: "canary".into(),
            description: None,
            steps: vec![],
            tallies: vec![tally("", 1, 0), tally("Z", 1, 1), tally("b", 3, 2), tally("ä", 1, 1)],
            last_used_at: world.now(),
        }]
    );
}

async fn what_is_said_later_of_a_skill_counts(world: &World) {
    let ann = agent("ann");
    let steps = |steps: &[&str]| Some(steps.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    let said = |description: Option<&str>, steps| RecordSkillUse {
        description: description.map(Into::into),
        steps,
        ..used("canary", "t", true)
    };
    world.run(&ann, said(Some("it's \"one\" host"), steps(&["a, b", "{c}"]))).await;
    world.run(&ann, said(None, None)).await;
    let skill = skills(world).await.remove(0);
    assert_eq!(skill.description.as_deref(), Some("it's \"one\" host"));
    assert_eq!(skill.steps, ["a, b", "{c}"]);
    world.run(&ann, said(Some("two"), steps(&[]))).await;
    let skill = skills(world).await.remove(0);
    assert_eq!((skill.description.as_deref(), skill.steps.len()), (Some("two"), 0));
}

async fn skills_are_listed_last_used_first(world: &World) {
    let ann = agent("ann");
    for name in ["b", "a", "C"] {
        world.run(&ann, used(name, "", true)).await;
    }
    world.pass(seconds(1)).await;
    world.run(&ann, used("a", "", true)).await;
    same(skills(world).await.iter().map(|s| &s.skill_name), &["a", "C", "b"]);
}

async fn skills_are_the_projects(world: &World) {
    world.run(&agent("ann"), used("a", "", true)).await;
    assert_eq!(skills(&world.in_project("field")).await, []);
}
