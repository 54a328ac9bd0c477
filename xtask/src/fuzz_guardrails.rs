//! `cargo xtask fuzz-guardrails`: throws mutated commands at the guard, and demands that none makes it panic or takes
//! longer than its length explains.
//!
//! In one process and on the stable compiler: the reader has no `unsafe`, so what there is to find are panics, endless
//! loops and work that grows faster than the input.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use guardrails::{Guard, Request};

/// What `cargo xtask fuzz-guardrails` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long to go on.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Where to begin; the same seed makes the same commands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where the corpus is.
const CORPUS: &str = "crates/guardrails/corpus";
/// No input is longer, but for those that look for work that grows too fast.
const LONGEST: usize = 8 << 10;
/// A check may take this long, and so much more for each byte. An honest one takes a fiftieth of it.
const ALLOWED: Duration = Duration::from_millis(60);
const ALLOWED_PER_BYTE: Duration = Duration::from_micros(20);

/// Fuzzes until the time is up.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let guard = Guard::builtin()?;
    let mut seeds = vec![];
    for entry in fs::read_dir(CORPUS).context(CORPUS)? {
        let text = fs::read_to_string(entry?.path())?;
        seeds.extend(text.lines().filter(|line| !line.is_empty()).map(|line| line.replace('⏎', "\n")));
    }
    let mut dice = Dice(arguments.seed.max(1));
    let end = Instant::now() + Duration::from_secs_f64(arguments.minutes * 60.0);
    let (mut count, mut bytes, mut slowest) = (0_u64, 0_usize, (Duration::ZERO, String::new()));
    while Instant::now() < end {
        let command = dice.command(&seeds);
        let start = Instant::now();
        let request = Request {
            command: &command,
            prose: &command,
            file_paths: std::slice::from_ref(&command),
            ..Request::default()
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| guard.check(&request)));
        let took = start.elapsed();
        ensure!(outcome.is_ok(), "it panicked, {count} commands after seed {}: {command:?}", arguments.seed);
        count += 1;
        bytes += command.len();
        if took > slowest.0 {
            let allowed = ALLOWED + ALLOWED_PER_BYTE * u32::try_from(command.len())?;
            // A busy machine may have stopped us: only what is slow every time is.
            let best = (0..3).map(|_| time(&guard, &command)).min().unwrap_or(took).min(took);
            ensure!(best <= allowed, "{best:?} for {} bytes, seed {}: {command:?}", command.len(), arguments.seed);
            if best > slowest.0 {
                slowest = (best, command);
            }
        }
    }
    println!("{count} commands, {} MB, no panic; the slowest took {:.1?}: {:.120?}", bytes >> 20, slowest.0, slowest.1);
    Ok(())
}

fn time(guard: &Guard, command: &str) -> Duration {
    let start = Instant::now();
    std::hint::black_box(guard.check(&Request { command, ..Request::default() }));
    start.elapsed()
}

/// Numbers that look random (xorshift64*): reproducible, and good enough for cutting strings.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        (number % end.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> &'a str {
        from.get(self.below(from.len())).map_or("", String::as_str)
    }

    /// A command of the corpus, changed a few times.
    fn command(&mut self, seeds: &[String]) -> String {
        const PIECES: &[&str] = &[
            "$(",
            ")",
            "`",
            "'",
            "\"",
            "\\",
            "$'",
            "${",
            "}",
            "{",
            ",",
            "((",
            "))",
            "<<",
            "<<E\n",
            "\nE\n",
            "<(",
            "|",
            "&",
            "&&",
            "||",
            ";",
            "\n",
            "#",
            "*",
            "?",
            "[",
            "~",
            "!",
            "$",
            "$IFS",
            "=",
            "+=",
            "(",
            "if ",
            "then ",
            "fi",
            "for i in ",
            "do ",
            "done",
            "case ",
            "esac",
            "in ",
            "function ",
            "[[ ",
            "]]",
            " -- ",
            " --",
            " -",
            "\0",
            "é",
            "\u{1f600}",
            "\u{e000}",
            "\u{fffd}",
            "eval ",
            "bash -c ",
            "sudo ",
            "xargs ",
            "python3 -c ",
            "psql -c ",
            "node -e ",
            "powershell -c ",
            "find . -exec ",
            " \\; ",
            "{}",
            "1..9",
            "%s",
            "\\x",
            "\\u",
        ];
        let mut text = self.pick(seeds).to_owned();
        for _ in 0..1 + self.below(6) {
            let at = self.boundary(&text);
            match self.below(7) {
                0 => text.insert_str(at, PIECES.get(self.below(PIECES.len())).copied().unwrap_or_default()),
                1 => text.truncate(at),
                2 => {
                    let to = self.boundary(&text);
                    text.replace_range(at.min(to)..at.max(to), "");
                }
                3 => {
                    let to = self.boundary(&text);
                    let part = text.get(at.min(to)..at.max(to)).unwrap_or_default().to_owned();
                    let times = [1, 2, 8, 64][self.below(4)];
                    text.insert_str(at, &part.repeat(times.min(1 + LONGEST / part.len().max(1))));
                }
                4 => text.insert_str(at, self.pick(seeds)),
                5 => {
                    let other = self.pick(seeds);
                    let from = self.boundary(other);
                    text.truncate(at);
                    text.push_str(other.get(from..).unwrap_or_default());
                }
                _ => {
                    let piece = PIECES.get(self.below(PIECES.len())).copied().unwrap_or_default();
                    let times = [3, 30, 300][self.below(3)];
                    text.insert_str(at, &piece.repeat(times));
                }
            }
            if text.len() > LONGEST {
                let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
                text.truncate(end);
            }
        }
        text
    }

    /// A place between two characters.
    fn boundary(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
    }
}
