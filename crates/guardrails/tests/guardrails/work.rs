//! Work is bounded, whatever is given: no panic, no input that takes longer than its length explains.

use std::time::{Duration, Instant};

use guardrails::{Decision, Guard, Request};
use proptest::prelude::*;

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

fn time(guard: &Guard, command: &str) -> Duration {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            guard.check(&Request { command, ..Request::default() });
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

#[test]
fn hostile_inputs_take_time_in_proportion() {
    let guard = Guard::builtin().unwrap();
    let mut slow = vec![];
    for piece in HOSTILE {
        for command in [piece.repeat(5_000 / piece.len()), format!("rm {}", piece.repeat(5_000 / piece.len()))] {
            let (short, long) = (time(&guard, &command), time(&guard, &command.repeat(8)));
            // Eight times the input; the budget's fixed part and the noise of a busy machine get a share.
            if long > short * 24 + Duration::from_millis(150) {
                slow.push(format!("{piece:?}: {short:?} then {long:?}"));
            }
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
        let (short, long) = (time(&guard, &code(50)), time(&guard, &code(800)));
        assert!(long < short * 48 + Duration::from_millis(150), "{}: {short:?} then {long:?}", code(1));
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
        let (short, long) = (time(&guard, &command(5_000)), time(&guard, &command(40_000)));
        assert!(long < short * 24 + Duration::from_millis(150), "{lead}{piece:?}: {short:?} then {long:?}");
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
