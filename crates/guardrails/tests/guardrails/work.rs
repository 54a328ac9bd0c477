//! Work is bounded, whatever is given: no panic, no input that takes longer than its length explains.

use std::time::Duration;

use guardrails::{Decision, Guard, Request};
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use crate::corpus::commands;

/// Pieces that have brought readers of shells down before.
const HOSTILE: &[&str] = &[
    "$(",
    "a",
    "`",
    "(",
    "((",
    "$((",
    "{",
    "{a,b}",
    "${",
    "${a:-",
    "\"",
    "'",
    "$'",
    "<<",
    "<<a\n",
    "<(",
    "\\",
    "|",
    ";",
    "&&",
    "if ",
    "for ",
    "case ",
    "case a in ",
    "while ",
    "[[ ",
    "f() { ",
    "a=b ",
    "a=$a$a;",
    "\"$(",
    "echo ",
    "sudo ",
    "bash -c ",
    "eval ",
    "xargs ",
    "find . -exec ",
    "!(",
    "{1..9}",
    "$a",
    "#",
    "\n",
    "\0",
    "é",
    "\u{e000}",
    "python -c '(",
    "psql -c '(",
    "drop table a;",
    "(DELETE ",
    "{(",
    "& {",
    "$x[",
    "a[",
    "time ",
    "! ",
    "x=(",
    "`\\`",
    "echo `",
    "${a/b/",
    ":-${",
];

/// What this thread computed meanwhile: a clock on the wall would also count what else the machine does.
fn time(guard: &Guard, command: &str) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
    };
    let start = now();
    guard.check(&Request { command, ..Request::default() });
    now() - start
}

/// What both take, should the long one take more than so many times what the short one does, each time it is tried. The budget's
/// fixed part gets a share.
fn out_of_proportion(guard: &Guard, short: &str, long: &str, times: u32) -> Option<String> {
    let mut taken = (Duration::ZERO, Duration::ZERO);
    let is_out = (0..3).all(|_| {
        taken = (time(guard, short), time(guard, long));
        taken.1 > taken.0 * times + Duration::from_millis(150)
    });
    is_out.then(|| format!("{:?}...: {:?} then {:?}", short.get(..40).unwrap_or(short), taken.0, taken.1))
}

#[test]
fn hostile_inputs_take_time_in_proportion() {
    let guard = Guard::builtin().unwrap();
    let mut slow = vec![];
    for piece in HOSTILE {
        for command in [piece.repeat(5_000 / piece.len()), format!("rm {}", piece.repeat(5_000 / piece.len()))] {
            slow.extend(out_of_proportion(&guard, &command, &command.repeat(8), 24));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

#[test]
fn calls_that_never_end_take_time_in_proportion() {
    let guard = Guard::builtin().unwrap();
    let python = |call: &str, calls: usize| format!("python3 -c \"import os; {}\"", call.repeat(calls));
    let node = |call: &str, calls: usize| format!("node -e 'require(\"fs\").promises.{}'", call.repeat(calls));
    let cases: [&dyn Fn(usize) -> String; 3] = [
        &|calls| python("os.execvp('r', ['x', ", calls),
        &|calls| python("os.execvp('rm', ['rm', '-rf', '; ", calls),
        &|calls| node("rm(re(\"fs\").promises.", calls),
    ];
    for code in cases {
        assert_eq!(out_of_proportion(&guard, &code(50), &code(800), 48), None);
    }
}

#[test]
fn languages_of_other_programs_take_time_in_proportion() {
    let guard = Guard::builtin().unwrap();
    let (recipe, tcl, debugger) = ("make -f - <<'E'\n", "tclsh <<'E'\n", "gdb <<'E'\n");
    let cases = [
        (recipe, "\trm '\n"),
        (recipe, "a: ; $(shell \n"),
        (recipe, "X=$(X)$(X)\n\t$(X)\n"),
        (recipe, "a\\\n"),
        (tcl, "exec {"),
        (tcl, "send \"\\\""),
        (tcl, "file delete a\n"),
        (debugger, "shell (\n"),
        (debugger, "call system(\n"),
        ("emacs --eval '", "(compile "),
        ("emacs --eval '", "(compile \"("),
        ("emacs --eval '", "(delete-directory \"a\" t)"),
        ("gdb ", "-ex 'shell a' "),
        ("sed '", "s/e "),
        ("rg -l a ", "| grep b "),
        ("ls a b c d e f g h ", "| grep b "),
        ("git ls-files ", "'*.a' "),
        ("bwrap ", "--bind a "),
        ("nix run ", "a#"),
    ];
    for (lead, piece) in cases {
        let command = |bytes: usize| format!("{lead}{}", piece.repeat(bytes / piece.len()));
        assert_eq!(out_of_proportion(&guard, &command(5_000), &command(40_000), 24), None);
    }
}

#[test]
fn what_cannot_be_followed_is_not_allowed() {
    let guard = Guard::builtin().unwrap();
    let decision = |command: &str| guard.check(&Request { command, ..Request::default() }).decision;
    assert_eq!(decision(&format!("rm {}", "$(".repeat(5_000))), Decision::Block);
    assert_eq!(decision(&"$(".repeat(5_000)), Decision::Ask);
    assert_eq!(decision(&format!("echo {}", "{a,b}".repeat(40))), Decision::Ask);
    assert_eq!(decision(&format!("rm {}", "{a,b}".repeat(40))), Decision::Block);
    assert_eq!(decision("psql -c 'delete from t where a = 1 ||| b = 2'"), Decision::Allow);
    assert_eq!(decision("psql -c 'delete from t where a = 1 |||||| 1 = 1'"), Decision::Block);
    assert_eq!(decision(&"a".repeat(1_000_000)), Decision::Allow);
    assert_eq!(decision(&format!("cat > x <<'EOF'\n{}EOF", "rm -rf /\n".repeat(50_000))), Decision::Allow);
}

#[test]
fn a_place_is_always_one_in_the_input() {
    let guard = Guard::builtin().unwrap();
    for name in ["dangerous.txt", "dangerous-incidents.txt"] {
        for command in commands(name) {
            for violation in guard.check(&Request { command: &command, ..Request::default() }).violations {
                let text = command.get(violation.span.clone()).unwrap_or_else(|| panic!("{command:?}: {violation:?}"));
                assert!(text.starts_with(&violation.matched_text), "{command:?}: {violation:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(pieces in prop::collection::vec(prop::sample::select(HOSTILE), 0..60), tail in "\\PC{0,40}") {
        let guard = GUARD.with(std::rc::Rc::clone);
        let command = pieces.concat() + &tail;
        guard.check(&Request { command: &command, prose: &command, file_paths: &[tail], ..Request::default() });
    }
}

thread_local! {
    static GUARD: std::rc::Rc<Guard> = std::rc::Rc::new(Guard::builtin().unwrap());
}
