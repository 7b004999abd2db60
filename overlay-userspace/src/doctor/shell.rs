//! Commands as somebody can type them where the doctor was asked.

use std::{fmt::Display, path::Path};

use crate::netns;

/// What the caller named: commands for the same network namespace and instance have to name it, too.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// The network namespace, as `--netns` takes it.
    pub netns: Option<String>,
    /// The instance, as `--instance` takes it.
    pub instance: Option<String>,
}

impl Shell {
    /// `overlay …` for the same instance.
    pub(super) fn overlay(&self, words: impl Display) -> String {
        let name = |option: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{option} {value} ")).unwrap_or_default()
        };
        format!("overlay {}{}{words}", name("-n", &self.netns), name("--instance", &self.instance))
    }

    /// Takes the same instance down, and brings it up again as it was told to be. `change` is what `sed` does with that before.
    pub(super) fn anew(&self, change: Option<&str>) -> String {
        let change = change.map(|change| format!(" | sed {change}")).unwrap_or_default();
        let [export, down, apply] =
            ["export", "down", "apply -f overlay.toml"].map(|words| self.overlay(words));
        format!("{export}{change} > overlay.toml && {down} && {apply}")
    }

    /// A command of the host's in the same network namespace.
    pub(super) fn host(&self, command: impl Display) -> String {
        match &self.netns {
            None => command.to_string(),
            Some(name) if name.contains('/') => inside(Path::new(name), command),
            Some(name) => inside(&Path::new(netns::NAMED).join(name), command),
        }
    }
}

/// A command in the network namespace that a file stands for.
pub(super) fn inside(namespace: &Path, command: impl Display) -> String {
    format!("nsenter --net={} {command}", namespace.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_what_the_caller_named() {
        let plain = Shell::default();
        assert_eq!(plain.overlay("status"), "overlay status");
        assert_eq!(plain.host("ip link"), "ip link");
        let named = Shell { netns: Some("h1".to_owned()), instance: Some("blue".to_owned()) };
        assert_eq!(named.overlay("status"), "overlay -n h1 --instance blue status");
        assert_eq!(named.host("ip link"), "nsenter --net=/run/netns/h1 ip link");
    }
}
