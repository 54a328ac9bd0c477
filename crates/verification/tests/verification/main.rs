//! Commands that will not end, that print without end, that hide: none of them outlives its limit, or leaves anything.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use verification::inline::{How, Stop, environment};
use verification::{Ended, Inline, Report};

fn inline() -> Inline {
    Inline::new(vec![env!("CARGO_BIN_EXE_verification-keeper").into()])
}

/// Runs a shell script, and says how long that took.
fn run(inline: &Inline, script: &str, timeout: Duration) -> (Ended, Duration) {
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let command = ["sh", "-c", script].map(str::to_owned);
    let environment = environment(&[], |name| std::env::var(name).ok()).unwrap();
    let ended = inline.run(&command, directory.path(), environment, timeout, &Stop::default());
    (ended, begun.elapsed())
}

/// How many processes have this in their command line.
fn alive(mark: &str) -> usize {
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(mark).then_some(())
    });
    lines.count()
}

#[test]
fn a_command_passes_or_fails_with_what_it_printed() {
    let (ended, _) = run(&inline(), "echo fine; echo also >&2", Duration::from_secs(20));
    assert!(ended.has_passed(), "{ended:?}");
    assert_eq!(ended.output, "fine\nalso\n");
    let (ended, _) = run(&inline(), "echo broken; exit 3", Duration::from_secs(20));
    assert_eq!((ended.how, ended.output.as_str()), (How::Kept(Report::Exited(3)), "broken\n"));
    let missing = ["no-such-program".to_owned()];
    let ended = inline().run(&missing, Path::new("/"), Default::default(), Duration::from_secs(9), &Stop::default());
    assert!(matches!(ended.how, How::Kept(Report::NotStarted(_))), "{ended:?}");
}

#[test]
fn it_sees_nothing_of_our_environment_but_what_it_is_to_have() {
    let given = |name: &str| matches!(name, "PATH" | "WANTED" | "SECRET").then(|| format!("{name}-value"));
    let environment = |names: &[&str]| environment(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), given);
    assert_eq!(Vec::from_iter(environment(&["WANTED"]).unwrap().into_keys()), ["PATH", "WANTED"]);
    assert_eq!(environment(&["WANTED", "GONE"]), Err(vec!["GONE".to_owned()]));
}

#[test]
fn what_ignores_the_polite_signal_is_killed() {
    let script = "trap '' TERM; while :; do sleep 7531; done";
    let (ended, took) = run(&inline(), script, Duration::from_millis(300));
    assert_eq!(ended.how, How::Kept(Report::TookTooLong));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(alive("7531"), 0);
}

#[test]
fn what_leaves_its_session_is_found() {
    // It goes away from its parent, its group and its session, and its parent ends well.
    let script = "setsid sh -c 'trap \"\" TERM HUP; sleep 7532 & sleep 7532' >/dev/null 2>&1 & sleep 0.2; echo done";
    let (ended, _) = run(&inline(), script, Duration::from_secs(20));
    assert_eq!((ended.how, ended.output.as_str()), (How::Kept(Report::Exited(0)), "done\n"));
    assert_eq!(alive("7532"), 0);
}

#[test]
fn a_bomb_of_sleeps_is_cleared_away() {
    let script = "i=0; while [ $i -lt 150 ]; do (setsid sleep 7533 &) ; i=$((i+1)); done; wait; sleep 7533";
    let (ended, took) = run(&inline(), script, Duration::from_secs(2));
    assert_eq!(ended.how, How::Kept(Report::TookTooLong));
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(alive("7533"), 0);
    let few = Inline { processes: 50, ..inline() };
    let (ended, _) = run(&few, &script.replace("7533", "7534"), Duration::from_secs(30));
    assert_eq!(ended.how, How::Kept(Report::StartedTooMany));
    assert_eq!(alive("7534"), 0);
}

#[test]
fn a_gigabyte_of_output_is_read_and_not_kept() {
    let much = Inline { output_bytes: 2 << 30, ..inline() };
    let (ended, _) = run(&much, "echo begin; head -c 1073741824 /dev/zero; echo end", Duration::from_secs(120));
    assert!(ended.has_passed(), "{:?}", ended.how);
    assert!(ended.output.starts_with("begin\n") && ended.output.ends_with("end\n"));
    assert!(ended.output.len() < 100_000);
    let little = Inline { output_bytes: 1 << 20, ..inline() };
    let (ended, took) = run(&little, "yes", Duration::from_secs(120));
    assert_eq!(ended.how, How::PrintedTooMuch);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn what_uses_too_much_memory_is_killed() {
    let little = Inline { memory_bytes: 64 << 20, ..inline() };
    let (ended, _) =
        run(&little, "head -c 300000000 /dev/zero | tail -c 300000000 | sleep 60", Duration::from_secs(60));
    assert_eq!(ended.how, How::Kept(Report::UsedTooMuchMemory));
}

#[test]
fn whoever_is_killed_takes_what_it_ran_along() {
    use std::io::Write;
    // As if the process that started the keeper had been killed: its end of the line is closed.
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_verification-keeper"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = keeper.stdin.take().unwrap();
    let job = r#"{"command":["sh","-c","setsid sleep 7535 & sleep 7535"],"directory":"/","environment":{"PATH":"/usr/bin:/bin"},"milliseconds":60000,"memory_bytes":1000000000,"processes":100}"#;
    writeln!(line, "{job}").unwrap();
    let begun = Instant::now();
    while alive("7535") < 3 {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not start");
        std::thread::yield_now();
    }
    drop(line);
    keeper.wait().unwrap();
    assert_eq!(alive("7535"), 0);
}
