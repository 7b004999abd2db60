//! All tests in one program: linked once, and run side by side. `throughput.rs` measures, and has a program of its own.

mod admitted_ids;
mod agent;
mod agent_churn;
mod agent_service;
mod apply;
mod apply_confirm;
mod apply_random;
mod apply_refused;
mod asked_again;
mod bad_input;
mod both_families;
mod bringing_up;
mod broadcast;
mod bum_rate;
mod changing_ports;
mod changing_underlay;
mod commands;
mod configuration;
mod cutter;
mod end_to_end;
mod equal_cost;
mod explain;
mod explain_input;
mod fdb_commands;
mod fdb_file;
mod fields;
mod fields_settings;
mod flooding_many;
mod frames;
mod frames_checksum_cut;
mod frames_dhcp;
mod frames_ecn;
mod frames_fields;
mod frames_fields_ipv6;
mod frames_from_port;
mod frames_from_port_flood;
mod frames_from_uplink;
mod frames_from_uplink_ipv6;
mod frames_from_uplink_lengths;
mod frames_from_uplink_random;
mod frames_from_uplink_xdp;
mod frames_learning;
mod frames_marks;
mod frames_mss;
mod frames_neighbours;
mod frames_neighbours_snooped;
mod frames_path_mtu;
mod frames_repeated;
mod frames_too_big;
mod frames_transit;
mod frames_udp_checksum;
mod frames_xdp_redirect;
mod group_members;
mod harness;
mod instructions;
mod isolation;
mod learning_flood;
mod learning_limits;
mod learning_moves;
mod lifecycle;
mod managed_neighbours;
mod manual;
mod mcast_left_out;
mod mcast_limits;
mod mcast_snooping;
mod mcast_snooping_vlan;
mod merged;
mod metrics;
mod moves;
mod mtu;
mod neighbour_commands;
mod neighbours;
mod neighbours_shared;
mod package;
mod path_mtu;
mod path_mtu_forged;
mod port_kinds;
mod priority_tags;
mod readme;
mod routing;
mod shared_host;
mod strangers;
mod systemd_units;
mod too_big_offloads;
mod transcripts;
mod transit;
mod tunnel_gro;
mod tunnel_replace;
mod udp6_csum_whole;
mod underlay;
mod underlay_groups;
mod underlay_groups_host;
mod underlay_ipv6;
mod vlan_bad_input;
mod vlan_changes;
mod vlan_keep;
mod vlan_mss;
mod vlan_neighbours;
mod vlan_suppress;
mod vlan_too_big;
mod vlan_trunk;
mod vlan_withdrawn;
mod xdp_redirect;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, ensure};

#[test]
fn every_file_is_part_of_a_program() -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    let modules =
        include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let parts: BTreeSet<String> = modules.chain(["main", "throughput"]).map(str::to_owned).collect();
    ensure!(files == parts, "{:?}", files.symmetric_difference(&parts).collect::<Vec<_>>());
    Ok(())
}
