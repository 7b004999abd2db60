//! An example or two for every subcommand, at the end of its help and its manual page.

use clap::{Command, CommandFactory};

/// Subcommands by their words, and command lines, each of which is right as it stands.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "overlay up --uplink eth0",
            "overlay vni add 100",
            "overlay port add veth0 --vni 100",
            "overlay tunnel add --vni 100 --remote 10.0.0.2",
            "overlay status",
        ],
    ),
    (
        "up",
        &["overlay up --uplink eth0", "overlay up --uplink eth0 --uplink eth1 --local 10.0.0.1 --xdp native"],
    ),
    ("down", &["overlay down", "overlay down --missing-ok"]),
    ("run", &["overlay run --uplink eth0", "overlay run -c overlay.toml --metrics 127.0.0.1:9477"]),
    ("status", &["overlay status", "overlay -o json status"]),
    (
        "adopt",
        &["overlay adopt vxlan100", "overlay adopt vxlan100 --follow", "overlay adopt --release vxlan100"],
    ),
    ("vni add", &["overlay vni add 100", "overlay vni add 100 --learning off --flood off"]),
    ("vni set", &["overlay vni set 100 --suppress on --ageing 300"]),
    ("vni del", &["overlay vni del 100"]),
    ("vni show", &["overlay vni show", "overlay vni show 100"]),
    (
        "port add",
        &["overlay port add veth0 --vni 100", "overlay port add tap0 --vni 100 --vlan 10:110,20-29:120"],
    ),
    ("port set", &["overlay port set veth0 --bum-rate 1000"]),
    ("port vlan add", &["overlay port vlan add tap0 30:130"]),
    ("port vlan del", &["overlay port vlan del tap0 30:130"]),
    ("port del", &["overlay port del veth0"]),
    ("port show", &["overlay port show"]),
    (
        "tunnel add",
        &[
            "overlay tunnel add --vni 100 --remote 10.0.0.2",
            "overlay tunnel add --vni 100 --remote 239.1.1.1 --dev eth0",
        ],
    ),
    ("tunnel replace", &["overlay tunnel replace 10.0.0.2 --remote 10.0.0.9"]),
    ("tunnel del", &["overlay tunnel del --vni 100 --remote 10.0.0.2"]),
    ("tunnel show", &["overlay tunnel show"]),
    (
        "fdb add",
        &[
            "overlay fdb add --vni 100 02:00:00:00:00:02 --remote 10.0.0.2",
            "overlay fdb add --vni 100 --from stations.txt",
        ],
    ),
    ("fdb replace", &["overlay fdb replace --vni 100 02:00:00:00:00:02 --port veth0"]),
    ("fdb del", &["overlay fdb del --vni 100 02:00:00:00:00:02"]),
    ("fdb show", &["overlay fdb show --vni 100", "overlay -o json fdb show"]),
    ("fdb flush", &["overlay fdb flush --vni 100 --origin learned"]),
    ("neigh add", &["overlay neigh add --vni 100 192.168.1.2 02:00:00:00:00:02"]),
    ("neigh replace", &["overlay neigh replace --vni 100 192.168.1.2 02:00:00:00:00:03"]),
    ("neigh del", &["overlay neigh del --vni 100 192.168.1.2"]),
    ("neigh show", &["overlay neigh show --vni 100"]),
    ("neigh flush", &["overlay neigh flush --vni 100"]),
    ("mdb add", &["overlay mdb add --vni 100 239.1.1.1 --port veth0"]),
    ("mdb del", &["overlay mdb del --vni 100 239.1.1.1 --port veth0"]),
    ("mdb show", &["overlay mdb show --vni 100"]),
    ("apply", &["overlay apply -f overlay.toml --dry-run", "overlay apply -f overlay.toml --confirm 60s"]),
    ("export", &["overlay export > overlay.toml"]),
    ("confirm", &["overlay confirm"]),
    ("schema", &["overlay schema > overlay.schema.json"]),
    (
        "stats",
        &[
            "overlay stats --vni 100",
            "overlay stats --by port --watch 2",
            "overlay stats --drops",
            "overlay -o json stats --by vtep --watch",
        ],
    ),
    ("top", &["overlay top", "overlay top --interval 0.5"]),
    (
        "explain",
        &[
            "overlay explain --port veth0 --dst 02:00:00:00:00:02 --proto tcp --dport 80",
            "overlay explain --from-uplink eth0 --pcap tunnel.pcap:3",
        ],
    ),
    (
        "monitor",
        &[
            "overlay monitor",
            "overlay -o json monitor --vni 100 --kind moved,flaps",
            "overlay monitor --drops",
        ],
    ),
    (
        "capture",
        &["overlay capture --port veth0 --count 10", "overlay capture --vni 100 --drops -w dropped.pcapng"],
    ),
    ("doctor", &["overlay doctor", "overlay doctor --fix", "overlay -v -o json doctor --no-probe"]),
    ("demo", &["overlay demo"]),
    ("version", &["overlay version", "overlay -o json version"]),
    ("man", &["overlay man /usr/local/share/man/man1"]),
    ("completions", &["overlay completions bash > /etc/bash_completion.d/overlay"]),
];

/// The command of `C` with them.
pub(super) fn command<C: CommandFactory>() -> Command {
    with_examples(C::command(), "")
}

fn with_examples(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |subcommand| with_examples(subcommand, path.trim_start()))
    });
    match EXAMPLES.iter().find(|(words, _)| *words == path) {
        Some((_, lines)) => command.after_help(format!("Examples:\n  {}", lines.join("\n  "))),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    /// Subcommands that have none of their own, by their words.
    fn leaves(command: &Command, path: &str) -> Vec<String> {
        let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
        let leaves: Vec<String> = subcommands
            .flat_map(|command| leaves(command, format!("{path} {}", command.get_name()).trim_start()))
            .collect();
        if leaves.is_empty() { vec![path.to_owned()] } else { leaves }
    }

    #[test]
    fn every_subcommand_has_one() {
        for words in leaves(&Cli::command(), "") {
            assert!(EXAMPLES.iter().any(|(with, _)| *with == words), "`{words}` has no example");
        }
    }

    #[test]
    fn they_are_right() {
        let mut wrong = Vec::new();
        for (words, lines) in EXAMPLES {
            for line in *lines {
                let (arguments, _) = line.split_once(" >").unwrap_or((line, ""));
                if let Err(error) = command::<Cli>().try_get_matches_from(arguments.split_whitespace()) {
                    wrong.push(format!("{line}: {error}"));
                }
                if !line.contains(words) {
                    wrong.push(format!("{line} is no example of `{words}`"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
