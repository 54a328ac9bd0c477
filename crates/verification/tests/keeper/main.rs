//! The keeper as a program of its own, for tests.

fn main() -> std::process::ExitCode {
    verification::keeper::main()
}
