//! Tells the program which commit it is built from, where that is known.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Unoptimised programs are built after each commit, and would be so anew for its name alone.
    let is_optimised = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    match is_optimised.then(commit).flatten() {
        Some(commit) => println!("cargo::rustc-env=BUILT_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=BUILT_VERSION={version}"),
    }
}

fn commit() -> Option<String> {
    // A packed crate may lie in somebody else's repository.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=9", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let told = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    told.status.success().then(|| text.trim().to_owned())
}
