//! Reading a file: TOML, and only keys that there are.

use super::{
    fault::{Fault, Text},
    file::File,
};
use crate::error::Result;

/// How alike two keys must be for one to be meant by the other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.75;

/// Reads the TOML of a file.
pub(crate) fn file(text: &Text) -> Result<File> {
    toml::from_str(&text.text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        text.error(&Fault { span: error.span().unwrap_or_default(), message: explained(&message) })
    })
}

/// What serde says, and which key may be meant by one that there is not.
fn explained(message: &str) -> String {
    let Some((key, expected)) =
        message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "))
    else {
        return message.to_owned();
    };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let alike = known
        .iter()
        .map(|other| (strsim::jaro_winkler(key, other), other))
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match alike {
        Some((_, other)) => format!("there is no key `{key}` here; did you mean `{other}`?"),
        None => format!("there is no key `{key}` here; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let text = Text { name: "f".to_owned(), text: text.to_owned() };
        file(&text).expect_err("nothing that can be read").to_string()
    }

    #[test]
    fn broken_files_are_refused_where_they_break() {
        for (text, about) in [
            ("", "f: missing field `vtep`"),
            ("[vtep]\nuplinks = [\"u1\"\n", "f:2:16: unclosed array"),
            (
                "[vtep]\nuplinks = [\"u1\"]\nprot = 4789\n",
                "f:3:1: there is no key `prot` here; did you mean `port`?",
            ),
            (
                "[vtep]\nuplinks = [\"u1\"]\nxyzzy = 1\n",
                "f:3:1: there is no key `xyzzy` here; there are uplinks, local",
            ),
            (
                "[vtep]\nuplinks = [\"u1\"]\n[[vni]]\nid = 1.5\n",
                "f:4:6: invalid type: floating point `1.5`, expected text",
            ),
            (
                "[vtep]\nuplinks = [\"u1\"]\n[[vni]]\nid = 1\n[[vni.fdb]]\nmca = \"x\"\n",
                "f:6:1: there is no key `mca`",
            ),
            ("[vtep]\nuplinks = \"u1\"\n", "f:2:11: invalid type: string"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(about), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
