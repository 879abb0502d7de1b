//! What the pages show is in the programs.

use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cookbook")
}

/// The lines of the page's blocks of Rust.
fn blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("\n```rust").skip(1);
    blocks
        .map(|block| {
            let (_, code) = block.split_once('\n').unwrap();
            code.split("\n```").next().unwrap()
        })
        .collect()
}

/// The lines without what stands before them, which depends on where they stand.
fn lines(code: &str) -> Vec<&str> {
    code.lines().map(str::trim).collect()
}

#[test]
fn the_code_of_each_page_is_its_program_s() {
    let contents = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut pages = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        if name == "README.md" {
            continue;
        }
        pages += 1;
        assert!(
            contents.contains(&format!("({name})")),
            "{name} is not listed"
        );
        // `[examples/bot.rs](../../examples/bot.rs)`
        let (_, program) = text.split_once("](../../examples/").expect(name);
        let program = program.split(')').next().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
        let program = fs::read_to_string(program).unwrap();
        let program = lines(&program);
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{name} shows nothing");
        for block in blocks {
            let block = lines(block);
            let is_there = program.windows(block.len()).any(|part| part == block);
            assert!(is_there, "{name} shows what is not there: {block:#?}");
        }
    }
    assert_eq!(pages, 9);
}
