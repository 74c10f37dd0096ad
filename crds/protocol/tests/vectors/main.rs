//! Golden vectors: every definition of this crate, written down in `vectors/*.json` with its inputs.
//!
//! One test compares the committed files with what the code makes, so that no byte changes unnoticed. The other runs
//! `vectors/check.py`, which follows the protocol's words and shares no line with the code. After a change that is meant:
//!
//! ```console
//! ORION_UPDATE_VECTORS=1 cargo test -p orion-protocol --test vectors
//! ```

#[cfg(test)]
mod bytes;
#[cfg(test)]
mod draws;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod json;
#[cfg(test)]
mod layouts;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod tasks;

#[cfg(test)]
mod golden {
    use std::path::PathBuf;
    use std::process::Command;

    use serde_json::Value;

    use crate::{bytes, draws, layouts, ledger, statements, tasks};

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
    }

    fn files() -> Vec<(&'static str, Value)> {
        vec![
            ("keys", bytes::keys()),
            ("frames", bytes::frames()),
            ("refused", bytes::refused()),
            ("ids", bytes::ids()),
            ("names", bytes::names()),
            ("npy", tasks::npy()),
            ("task", tasks::task()),
            ("units", tasks::units()),
            ("layouts", layouts::layouts()),
            ("log_tree", tasks::log_tree()),
            ("statements", statements::statements()),
            ("messages", statements::messages()),
            ("transactions", ledger::transactions()),
            ("leaves", ledger::leaves()),
            ("answers", ledger::answers()),
            ("draws", draws::draws()),
            ("money", draws::money()),
        ]
    }

    #[test]
    fn the_committed_vectors_are_what_the_code_makes() {
        let update = std::env::var_os("ORION_UPDATE_VECTORS").is_some();
        let mut different = Vec::new();
        for (name, made) in files() {
            let path = folder().join(format!("{name}.json"));
            let committed =
                std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
            if committed.as_ref() == Some(&made) {
                continue;
            }
            if update {
                std::fs::write(&path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
            } else {
                different.push(name);
            }
        }
        assert!(
            different.is_empty(),
            "vectors {different:?} are not what the code makes; if the change is meant, run \
             ORION_UPDATE_VECTORS=1 cargo test -p orion-protocol --test vectors and review the difference"
        );
    }

    #[test]
    fn an_independent_reader_agrees() {
        let script = folder().join("check.py");
        let output = match Command::new("python3").arg("-B").arg(&script).output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                assert!(std::env::var_os("CI").is_none(), "python3 is missing, and CI must run {}", script.display());
                eprintln!("skipped: there is no python3 to run {}", script.display());
                return;
            }
            Err(error) => panic!("python3 cannot be run: {error}"),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        println!("{}", text(&output.stdout));
    }
}
