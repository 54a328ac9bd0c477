//! Every line of the corpus is decided as it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use network::line;
use serde_json::Value;

#[test]
fn the_corpus_is_decided_as_it_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (mut wrong, mut ids, mut allowed) = (vec![], BTreeSet::new(), 0);
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (at, text) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}, line {}: {e}", at + 1));
            let id = line["id"].as_str().unwrap_or_else(|| panic!("{name}, line {}: no id", at + 1));
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let answer = line::answer(text, at + 1);
            assert_eq!(answer["id"], id);
            allowed += usize::from(line["expect"] == "allow");
            if answer["verdict"] != line["expect"] {
                wrong.push(format!("{text}\n    {}", answer["reason"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Neither half may wither: whoever denies everything would pass the other.
    assert!(allowed >= 80 && ids.len() - allowed >= 160, "{allowed} allowed of {}", ids.len());
}
