//! Is all that a command could destroy there for tests only? Told by names: `app_test`, `RAILS_ENV=test`, `:memory:`.

use crate::call::Arg;
use crate::walk::Walker;

impl Walker<'_> {
    /// Does the command work on something that was made for a test?
    pub fn is_throwaway(&self, args: &[Arg]) -> bool {
        let texts = || args.iter().skip(1).map(Arg::plain);
        if texts().any(|text| is_in_use(&text)) {
            return false;
        }
        let environment = self.env.variables.iter().any(|(name, values)| {
            (name.ends_with("_ENV") || name == "ENV" || name == "DATABASE_URL")
                && values.iter().any(|value| is_for_tests(value) && !is_in_use(value))
        });
        environment || texts().any(|text| is_for_tests(&text))
    }

    /// Does something, remembering for its violations whether the command works on what was made for a test.
    pub fn sparing<T>(&mut self, args: &[Arg], run: impl FnOnce(&mut Self) -> T) -> T {
        let for_tests = self.is_throwaway(args);
        let before = std::mem::replace(&mut self.for_tests, for_tests);
        let result = run(self);
        self.for_tests = before;
        result
    }
}

/// A name, a path or an option's value that says so. What has blanks in it is SQL or prose.
fn is_for_tests(text: &str) -> bool {
    const LONGEST: usize = 200;
    text.len() <= LONGEST
        && !text.contains(char::is_whitespace)
        && (text == ":memory:"
            || text.starts_with("/tmp/")
            || words(text).any(|word| matches!(word.as_str(), "test" | "tests" | "testing" | "e2e")))
}

fn is_in_use(text: &str) -> bool {
    words(text).any(|word| word.starts_with("prod") || matches!(word.as_str(), "live" | "staging"))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase)
}
