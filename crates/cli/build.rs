//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A program that may lie anywhere is told at each start where it lies: 44,000 pointers on 270 pages, which a hook would
    // pay for at every step of an agent, and a server in memory.
    let target = |what| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
