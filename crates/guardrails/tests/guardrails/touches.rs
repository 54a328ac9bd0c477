//! Which files a command is known to change or to show.

use guardrails::{Guard, Request, Way};

fn touched(command: &str) -> String {
    let guard = Guard::builtin().unwrap();
    let request = Request { command, cwd: Some("/work/project"), home: Some("/home/ann"), ..Request::default() };
    let each = guard.study(&request).touched.into_iter().map(|touch| {
        let how = match touch.way {
            Way::Write => "write",
            Way::Tree => "tree",
            Way::Into => "into",
            Way::Named => "named",
            Way::Read => "read",
        };
        let pattern = if touch.is_pattern { "pattern " } else { "" };
        format!("{how} {pattern}{}", touch.path)
    });
    each.collect::<Vec<_>>().join(", ")
}

#[test]
fn writes_that_can_be_seen_are_told() {
    for (command, expected) in [
        ("echo x > src/a.rs", "write src/a.rs"),
        ("echo x >> ./src//a.rs", "write src/a.rs"),
        ("date | tee -a log.txt notes/b.md", "write log.txt, write notes/b.md"),
        (
            "sed -i 's/a/b/' src/a.rs src/b.rs",
            "write src/a.rs, read s/a/b, read src/a.rs, write src/b.rs, read src/b.rs",
        ),
        ("sed -i -e 's/a/b/' src/a.rs", "write src/a.rs, read src/a.rs"),
        ("perl -pi -e 's/a/b/' src/a.rs", "write src/a.rs"),
        ("cd src && rm a.rs", "tree src/a.rs"),
        ("rm -rf src/auth", "tree src/auth"),
        ("mv a.rs b.rs", "tree a.rs, write b.rs, into b.rs/a.rs"),
        ("cp x/a.rs src", "write src, into src/a.rs"),
        ("git checkout -- src/a.rs", "tree src/a.rs"),
        ("git checkout HEAD~1 -- src/a.rs .", "tree , tree src/a.rs"),
        ("git checkout main", "named main"),
        ("git restore src/a.rs", "tree src/a.rs"),
        ("git restore --staged src/a.rs", ""),
        ("git -C sub rm b.rs", "tree sub/b.rs"),
        ("bash -c 'echo x > src/a.rs'", "write src/a.rs"),
        ("cat > src/a.rs <<'EOF'\nfn main() {}\nEOF", "write src/a.rs"),
        ("patch src/a.rs fix.diff", "write src/a.rs"),
        ("python3 -c \"open('src/a.rs', 'w').write('x')\"", "write src/a.rs"),
        ("rm src/*.rs", "tree pattern src/*.rs"),
        ("echo x > \"$UNKNOWN/a\"", ""),
        ("echo x > /work/project/src/a.rs", "write src/a.rs"),
        ("echo x > /tmp/a", "write /tmp/a"),
        ("git commit -m 'rm -rf src > x'", ""),
        ("cargo test 2>&1 | tail -5", ""),
    ] {
        let mut expected: Vec<&str> = if expected.is_empty() { vec![] } else { expected.split(", ").collect() };
        expected.sort_unstable();
        let found = touched(command);
        let mut found: Vec<&str> = if found.is_empty() { vec![] } else { found.split(", ").collect() };
        found.sort_unstable();
        assert_eq!(found, expected, "{command}");
    }
}

#[test]
fn what_is_shown_is_told() {
    for (command, expected) in [
        ("cat src/a.rs", "read src/a.rs"),
        ("cd src; head -n 5 a.rs | tail -2", "read src/a.rs"),
        ("wc -l < src/a.rs", "read src/a.rs"),
        ("echo src/a.rs", ""),
    ] {
        assert_eq!(touched(command), expected, "{command}");
    }
}
