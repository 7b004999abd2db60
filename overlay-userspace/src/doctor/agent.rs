//! Whether an agent runs where something is lost without one.

use overlay_common::maps::device::Role;

use super::{finding::Finding, scene::Scene, shell::Shell};
use crate::{agent::presence, declared::confirm, error::Result};

/// What there is of an agent, and what only one can do.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Facts {
    runs: bool,
    /// Its file is there, and nobody has it locked.
    was_killed: bool,
    /// A device that is wanted is not there.
    waits: bool,
    /// Addresses of the local VTEP are those of the uplinks, and not all of these are here to stay.
    follows: bool,
    has_groups: bool,
}

pub(super) fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let Some(up) = &scene.up else { return Ok(Vec::new()) };
    let runs = presence::look(&scene.name)?.is_some();
    let file = std::path::Path::new(confirm::ROOT).join(format!("{}.agent", scene.name));
    let is_passing = |address: &crate::netlink::Address| {
        let is_on_uplink = up.uplinks.contains_key(&address.device.get());
        is_on_uplink && !address.is_forever && up.config.is_local(address.addr.into())
    };
    let facts = Facts {
        runs,
        was_killed: !runs && file.exists(),
        waits: up
            .devices
            .values()
            .any(|device| device.index().is_none() && matches!(device.role(), Role::Port(_))),
        follows: up.config.is_following() && scene.addresses.iter().any(is_passing),
        has_groups: up.vteps.iter().any(|(_, vtep)| vtep.is_group()),
    };
    Ok(vec![judge(&scene.shell, &scene.name, facts)])
}

fn judge(shell: &Shell, name: &str, facts: Facts) -> Finding {
    if facts.runs {
        return Finding::fine("agent", name, "an agent runs");
    }
    let start =
        format!("{} > overlay.toml && {}", shell.overlay("export"), shell.overlay("run -c overlay.toml"));
    let lost = [
        (facts.follows, "an address that DHCP changes is not followed"),
        (facts.waits, "a port that comes back is not served until the next command"),
        (facts.has_groups, "a multicast group is not joined again when its uplink was away"),
    ];
    let lost: Vec<&str> = lost.iter().filter(|(is_so, _)| *is_so).map(|(_, what)| *what).collect();
    if facts.was_killed {
        let what = format!("the agent of instance {name} was killed");
        let repairs = ["forwarding goes on; what changes around it is repaired by the next command only"];
        return Finding::problem("agent", name, what)
            .why(repairs.iter().chain(&lost).copied().collect::<Vec<_>>().join("; "))
            .mend(start);
    }
    if lost.is_empty() {
        return Finding::fine("agent", name, "no agent runs, and nothing here needs one");
    }
    Finding::advice("agent", name, "no agent runs").why(lost.join("; ")).mend(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn an_agent_is_missed_where_something_is_lost() {
        let judge = |facts| {
            let found = judge(&Shell::default(), "blue", facts);
            (found.severity, found.why)
        };
        let none = Facts::default();
        assert_eq!(judge(none).0, Severity::Fine);
        assert_eq!(judge(Facts { runs: true, waits: true, ..none }).0, Severity::Fine);
        let (severity, why) = judge(Facts { waits: true, has_groups: true, ..none });
        assert_eq!(severity, Severity::Advice);
        assert!(why.contains("comes back") && why.contains("group"), "{why}");
        assert_eq!(judge(Facts { was_killed: true, ..none }).0, Severity::Problem);
    }
}
