//! `cargo xtask gallery` runs this: pictures of what commands print, each from a run of its own in a lab of the tests' harness.

mod lab;
mod picture;
mod scene;
mod terminal;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

use lab::Gallery;
use scene::{SCENES, Scene};

fn main() -> ExitCode {
    match make() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "gallery: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the pictures that the arguments name after the directory that they go to; all if none is named.
fn make() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("name the directory that pictures go to")?);
    let names: Vec<String> = arguments.collect();
    if let Some(name) = names.iter().find(|name| SCENES.iter().all(|scene| scene.name != **name)) {
        let known: Vec<_> = SCENES.iter().map(|scene| scene.name).collect();
        anyhow::bail!("there is no picture {name}; there are {}", known.join(", "));
    }
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let is_wanted = |scene: &&Scene| names.is_empty() || names.iter().any(|name| name == scene.name);
    Gallery::show(|host| {
        for scene in SCENES.iter().filter(is_wanted) {
            let path = directory.join(scene.name).with_extension("svg");
            let picture = picture::of(scene, host).with_context(|| scene.name.to_owned())?;
            ensure!(picture.len() <= picture::LARGEST, "{}: {} bytes", scene.name, picture.len());
            fs::write(&path, picture).with_context(|| path.display().to_string())?;
            writeln!(io::stderr(), "gallery: {}", path.display())?;
        }
        Ok(())
    })
}
