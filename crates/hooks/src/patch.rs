//! Which files a patch in the form of `apply_patch` changes.

/// The heads of its parts, and of renames.
const HEADS: &[&str] = &["*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:"];
/// How such a patch begins.
pub const BEGINNING: &str = "*** Begin Patch";

/// Every path in it: added, changed, removed, and where one is moved to; each once.
pub fn paths(patch: &str) -> Vec<String> {
    let mut paths: Vec<String> = vec![];
    for line in patch.lines() {
        // Lines of content begin with a blank, + or -, so none of them is taken for a head.
        let path = HEADS.iter().find_map(|head| line.strip_prefix(head)).map(str::trim).filter(|path| !path.is_empty());
        if let Some(path) = path.filter(|path| !paths.iter().any(|known| known == path)) {
            paths.push(path.to_owned());
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_patch_is_found() {
        let patch = "*** Begin Patch\n*** Add File: src/new.rs\n+*** Add File: not/this.rs\n*** Update File: src/a.rs\n\
                     *** Move to: src/b c.rs\n@@ fn x\n-*** Delete File: nor/this.rs\n *** Delete File: nor/that.rs\n\
                     *** Delete File: src/old.rs\r\n*** Update File: src/a.rs\n*** Update File: \n*** End Patch\n";
        assert_eq!(paths(patch), ["src/new.rs", "src/a.rs", "src/b c.rs", "src/old.rs"]);
        assert_eq!(paths(""), [""; 0]);
    }
}
