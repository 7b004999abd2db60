//! `overlay doctor`: what keeps an instance from working well, and the commands that mend it.
//!
//! A check gathers facts and judges them; judging is a function of the facts alone. All of it only reads, but for [`mend`]: a
//! doctor that repaired by looking, as other commands do, could not tell what was wrong.

mod agent;
mod finding;
mod firewall;
mod fix;
mod hooks;
mod instances;
mod kernel;
mod leftovers;
mod offloads;
mod paths;
mod probe;
mod room;
mod scene;
mod sharing;
mod shell;
mod sight;
mod sizes;
mod sockets;

pub use finding::{Finding, Severity};
pub use shell::Shell;

use crate::{error::Result, preflight};
use scene::Scene;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether remote VTEPs are asked for how large a packet gets there.
    pub probes: bool,
}

/// Looks at the instance of that name, up or not, and at what it needs. Those findings come first that matter most.
///
/// # Errors
///
/// Fails if the kernel or a map cannot be asked at all.
pub async fn examine(shell: &Shell, name: &str, options: Options) -> Result<Vec<Finding>> {
    if let Err(error) = preflight::capabilities() {
        let finding = Finding::problem("capabilities", "caller", error.to_string())
            .why("nothing can be looked at, nor changed, without them")
            .mend(format!("sudo {}", shell.overlay("doctor")));
        return Ok(vec![finding]);
    }
    let scene = Scene::gather(shell, name).await?;
    let mut found = kernel::check(&scene);
    found.push(instances::check(&scene));
    found.extend(hooks::check(&scene).await?);
    found.extend(offloads::check(&scene));
    found.extend(sizes::check(&scene).await?);
    found.extend(paths::check(&scene, options.probes).await?);
    found.extend(sharing::check(&scene)?);
    found.extend(firewall::check(&scene));
    found.extend(leftovers::check(&scene)?);
    found.extend(room::check(&scene)?);
    found.extend(agent::check(&scene)?);
    found.sort_by_key(|finding| finding.severity);
    Ok(found)
}

/// Mends what can be mended by changing only what is ours, or a setting of a device that can be set back; what was done.
///
/// # Errors
///
/// Fails if the kernel cannot be asked.
pub async fn mend(name: &str, findings: &[Finding]) -> Result<Vec<String>> {
    fix::fix(name, findings).await
}
