//! A screen as a picture.

use anstyle_svg::Term;
use anyhow::{Context as _, Result, ensure};
use overlay_tests::{overlay, topology::Host};

use crate::{scene::Scene, terminal};

/// Bytes that a picture may have: it is part of the repository.
pub(crate) const LARGEST: usize = 60_000;

/// Runs a scene's command on a host, and draws what is to be seen then, below the command itself.
pub(crate) fn of(scene: &Scene, host: &Host) -> Result<String> {
    let mut words = scene.command.split(' ');
    ensure!(words.next() == Some("overlay"), "it is a picture of something else");
    let mut command = host.netns.command(overlay::binary().context("there is no `overlay`")?);
    let shown = terminal::run(command.args(words), scene.rows, scene.lasts)?;
    Ok(Term::new().render_svg(&format!("\x1b[1m$ {}\x1b[0m\n{shown}\n", scene.command)))
}
