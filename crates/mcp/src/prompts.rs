//! The prompts: what a person can have an agent told, with the state of things as it is then.

use coordinator::resources::{self, Resource};
use rmcp::model::{JsonObject, Prompt as Listed, PromptArgument};
use serde_json::{Map, Value, json};

/// Something to be told to an agent.
pub struct Prompt {
    /// Its name.
    pub name: &'static str,
    summary: &'static str,
    /// What it must be given: names, and what they mean.
    arguments: &'static [(&'static str, &'static str)],
    /// `{name}` stands for an argument.
    text: &'static str,
    /// The resources that are shown below it, narrowed down by the arguments.
    shows: &'static [(&'static str, Narrower)],
}

type Narrower = fn(&Arguments) -> Value;

/// A prompt with its arguments in their places.
pub struct Filled {
    /// What is said.
    pub text: String,
    /// What is shown below it: resources, each with what to ask of its operation.
    pub shown: Vec<(&'static Resource, Value)>,
}

/// What a prompt was given.
type Arguments = Map<String, Value>;

/// All of them.
pub static PROMPTS: &[Prompt] = &[
    Prompt {
        name: "coordinate_file_edit",
        summary: "Edit a file that other agents may want to edit too.",
        arguments: &[("file_path", "The file, seen from the top of the repository"), ("task", "What to do to it")],
        text: "\
Your task: {task}

It changes `{file_path}`, and other agents work on this repository too. Go about it like this:

1. Call acquire_lock with file_path `{file_path}` and the task, in a few words, as the reason. Lock everything else that you \
will change in the same call (file_paths), so that two agents never wait for each other.
2. If it is blocked, the answer says by whom and until when. Do other work, or call it again with wait_seconds. Do not edit \
what you have not locked.
3. Read the file again: it may have changed while you waited. Then make the change, and test it.
4. Call release_lock as soon as others may see your change.

What is locked already and overlaps `{file_path}`:",
        shows: &[("locks://current", |arguments| json!({"file_paths": [arguments["file_path"]]}))],
    },
    Prompt {
        name: "start_work_session",
        summary: "Begin to work beside other agents: who you are, what is going on, what there is to do.",
        arguments: &[],
        text: "\
You are about to work on a repository beside other agents. Begin like this:

1. Call register_session with what you can do (capabilities) and what you are at (current_task).
2. Look at where the work was left, what is locked and what waits to be done, below; read_handoff tells more.
3. Call get_work for a task, unless you were given one. It is yours until you end it with complete_work.
4. Call acquire_lock before you change a file, and release_lock when you are done with it.
5. Call write_handoff before you stop, with what your next session or another agent must know.

help explains any of these tools in full.",
        shows: &[
            ("handoffs://recent", |_| json!({})),
            ("locks://current", |_| json!({})),
            ("work://pending", |_| json!({})),
        ],
    },
];

/// The prompt of this name.
pub fn find(name: &str) -> Option<&'static Prompt> {
    PROMPTS.iter().find(|prompt| prompt.name == name)
}

impl Prompt {
    /// As a client sees it.
    pub fn listed(&self) -> Listed {
        let arguments = self
            .arguments
            .iter()
            .map(|(name, meaning)| PromptArgument::new(*name).with_description(*meaning).with_required(true));
        let arguments = if self.arguments.is_empty() { None } else { Some(arguments.collect()) };
        Listed::new(self.name, Some(self.summary), arguments)
    }

    /// Its summary.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// What it says when it is given this.
    ///
    /// # Errors
    /// The name of an argument that is missing, or is no text.
    pub fn fill(&self, given: &JsonObject) -> Result<Filled, &'static str> {
        if let Some((missing, _)) =
            self.arguments.iter().find(|(name, _)| !given.get(*name).is_some_and(Value::is_string))
        {
            return Err(missing);
        }
        let shown = self.shows.iter().filter_map(|(uri, narrower)| {
            let narrower = narrower(given).as_object().cloned().unwrap_or_default();
            resources::find(uri).map(|resource| (resource, resource.request(narrower)))
        });
        Ok(Filled { text: self.text_for(given), shown: shown.collect() })
    }

    /// The text with the arguments in their places. What an argument holds is not looked at again.
    fn text_for(&self, given: &JsonObject) -> String {
        let mut filled = String::new();
        let mut rest = self.text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            filled.push_str(before);
            filled.push_str(given.get(name).and_then(Value::as_str).unwrap_or_default());
            rest = after;
        }
        filled + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: Value) -> JsonObject {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn each_has_a_place_for_every_argument_and_shows_what_there_is() {
        for prompt in PROMPTS {
            let given = prompt.arguments.iter().map(|(name, _)| ((*name).to_owned(), json!(format!("<{name}>"))));
            let Filled { text, shown } = prompt.fill(&given.collect()).unwrap();
            assert_eq!(shown.len(), prompt.shows.len(), "{}", prompt.name);
            assert!(prompt.arguments.iter().all(|(name, _)| text.contains(&format!("<{name}>"))), "{text}");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn an_argument_is_taken_as_it_is() {
        let prompt = find("coordinate_file_edit").unwrap();
        let Filled { text, shown } =
            prompt.fill(&arguments(json!({"file_path": "src/{task}.py", "task": "{file_path}"}))).unwrap();
        assert!(text.starts_with("Your task: {file_path}\n\nIt changes `src/{task}.py`,"), "{text}");
        assert_eq!(shown[0].1, json!({"file_paths": ["src/{task}.py"]}));
    }

    #[test]
    fn a_missing_argument_is_named() {
        let prompt = find("coordinate_file_edit").unwrap();
        for given in [json!({"file_path": "a"}), json!({"file_path": "a", "task": 7})] {
            assert_eq!(prompt.fill(&arguments(given)).err(), Some("task"));
        }
    }
}
