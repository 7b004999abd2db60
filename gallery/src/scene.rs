//! Which pictures there are.

use std::time::Duration;

/// A picture: a command, and the screen that it is run on.
pub(crate) struct Scene {
    /// What the picture's file is called.
    pub(crate) name: &'static str,
    /// The command as it is typed on host 1 of [`crate::lab`].
    pub(crate) command: &'static str,
    /// Lines of the screen; what scrolls out of it is not in the picture.
    pub(crate) rows: u16,
    /// When it is interrupted, where it does not end by itself.
    pub(crate) lasts: Option<Duration>,
}

impl Scene {
    /// A command that prints something and ends.
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command, rows: 300, lasts: None }
    }
}

/// All of them. A new one needs a line here, its picture (`cargo xtask gallery NAME`), and a word in `docs/gallery.md`.
pub(crate) const SCENES: &[Scene] = &[
    Scene::new("demo", "overlay demo"),
    Scene::new("status", "overlay status"),
    Scene::new("fdb", "overlay fdb show"),
    Scene::new("stats", "overlay stats"),
    Scene::new("drops", "overlay stats --drops"),
    Scene::new("explain", "overlay explain --port p100-1 --dst 02:00:00:00:00:02 --proto tcp --dport 80"),
    Scene::new("explain-drop", "overlay explain --port p100-1 --dst 02:00:00:00:00:63"),
    Scene::new("doctor", "overlay -v doctor"),
    Scene { name: "top", command: "overlay top", rows: 30, lasts: Some(Duration::from_secs(8)) },
    Scene { name: "capture", command: "overlay capture --count 6", rows: 30, lasts: None },
    Scene::new("version", "overlay version"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::picture::LARGEST;

    #[test]
    fn each_has_its_picture_which_the_document_shows_and_there_are_no_others() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let text = fs::read_to_string(docs.join("gallery.md")).expect("docs/gallery.md");
        for scene in SCENES {
            let path = docs.join("gallery").join(scene.name).with_extension("svg");
            let picture = fs::read_to_string(&path).expect("`cargo xtask gallery` makes it");
            assert!(picture.starts_with("<svg") && picture.len() <= LARGEST, "{}", path.display());
            assert!(text.contains(&format!("](gallery/{}.svg)", scene.name)), "no {}", scene.name);
        }
        let files = fs::read_dir(docs.join("gallery")).expect("docs/gallery");
        let files = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
        let files: BTreeSet<String> = files.collect();
        let named: BTreeSet<String> = SCENES.iter().map(|scene| format!("{}.svg", scene.name)).collect();
        assert_eq!(files, named);
    }
}
