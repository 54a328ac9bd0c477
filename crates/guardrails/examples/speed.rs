//! How fast checks are: `cargo run --release -p guardrails --example speed`.
#![expect(clippy::expect_used, reason = "a bench ends by panicking")]

use std::time::{Duration, Instant};

use guardrails::{Guard, Request};

fn main() {
    let start = Instant::now();
    let guard = Guard::builtin().expect("the packs that come with the program are good");
    println!("{:>10.1?}  to read the packs", start.elapsed());

    let corpus = [
        include_str!("../corpus/benign.txt"),
        include_str!("../corpus/benign-work.txt"),
        include_str!("../corpus/dangerous.txt"),
    ]
    .concat();
    let commands: Vec<String> = corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("##"))
        .map(|line| line.replace('⏎', "\n"))
        .collect();
    let mut times: Vec<Duration> =
        (0..20).flat_map(|_| commands.iter().map(|command| time(&guard, command)).collect::<Vec<_>>()).collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{:>10.1?}  median of {} commands, {:.1?} p99, {:.1?} longest",
        at(0.5),
        commands.len(),
        at(0.99),
        at(1.0)
    );

    for piece in ["$(", "a", "rm $(", "{a,b}", "`", "<<a\n", "((", "a;", "rm a;", "'", "$a"] {
        let command = piece.repeat(1_000_000 / piece.len());
        println!("{:>10.1?}  1 MB of {piece:?}", time(&guard, &command));
    }
}

fn time(guard: &Guard, command: &str) -> Duration {
    let start = Instant::now();
    std::hint::black_box(guard.check(&Request { command, ..Request::default() }));
    start.elapsed()
}
