//! `overlay neigh` and the settings of suppression: what they keep, and what they refuse.

use anyhow::{Result, ensure};
use overlay_tests::{
    bench::{Bench, Hook, PORT, STATION, VNI, lab},
    frame::{Arp, Mac},
    neigh::{self, Neighbour, v4},
    overlay::{EXISTS, Instance, MISSING, USAGE},
    refusal::{all_refused, refused},
    topology::{Host, Lab},
};
use serde_json::json;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn run(host: &Host, command: &str) -> Result<String> {
    host.overlay(&command.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn neighbours_are_added_replaced_removed_and_shown() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    run(host, "vni add 100")?;
    run(host, "vni add 200")?;
    run(host, &format!("neigh add --vni 100 10.1.0.1 {MAC}"))?;
    run(host, &format!("neigh add --vni 100 fd01::1 {MAC} --router"))?;
    run(host, &format!("neigh add --vni 200 10.1.0.1 {OTHER_MAC}"))?;
    neigh::expect(host, 100, "10.1.0.1".parse()?, Some(&Neighbour::new(MAC, "static")))?;
    neigh::expect(host, 200, "10.1.0.1".parse()?, Some(&Neighbour::new(OTHER_MAC, "static")))?;
    let router = Neighbour { router: true, ..Neighbour::new(MAC, "static") };
    neigh::expect(host, 100, "fd01::1".parse()?, Some(&router))?;
    let table = run(host, "neigh show --vni 100")?;
    ensure!(table.lines().count() == 3 && table.contains("fd01::1"), "{table}");

    refused(host, &format!("neigh add --vni 100 10.1.0.1 {MAC}"), EXISTS, "there already")?;
    refused(host, &format!("neigh add --vni 100 10.1.0.1 {OTHER_MAC}"), EXISTS, "neigh replace")?;
    refused(host, &format!("neigh add --vni 100 10.1.0.1 {OTHER_MAC} --exist-ok"), EXISTS, "another's")?;
    run(host, &format!("neigh add --vni 100 10.1.0.1 {MAC} --exist-ok"))?;
    run(host, &format!("neigh replace --vni 100 10.1.0.1 {OTHER_MAC}"))?;
    neigh::expect(host, 100, "10.1.0.1".parse()?, Some(&Neighbour::new(OTHER_MAC, "static")))?;

    run(host, "neigh flush --vni 100")?;
    neigh::expect(host, 100, "10.1.0.1".parse()?, Some(&Neighbour::new(OTHER_MAC, "static")))?;
    run(host, "neigh del --vni 100 10.1.0.1")?;
    neigh::expect(host, 100, "10.1.0.1".parse()?, None)?;
    refused(host, "neigh del --vni 100 10.1.0.1", MISSING, "neigh show")?;
    run(host, "neigh del --vni 100 10.1.0.1 --missing-ok")?;
    // A segment that goes takes its neighbours with it.
    run(host, "vni del 200")?;
    run(host, "vni add 200")?;
    ensure!(host.overlay_json(&["neigh", "show", "--vni", "200"])? == json!([]));
    Ok(())
}

#[test]
fn settings_are_kept_and_shown() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    let shown = || -> Result<_> {
        let all = host.overlay_json(&["vni", "show", "100"])?;
        Ok((all[0]["suppress"].clone(), all[0]["suppress_unknown"].clone(), all[0]["snoop_dhcp"].clone()))
    };
    run(host, "vni add 100")?;
    ensure!(shown()? == (json!(false), json!("flood"), json!(false)), "{:?}", shown()?);
    run(host, "vni set 100 --suppress on --suppress-unknown drop --snoop-dhcp on")?;
    ensure!(shown()? == (json!(true), json!("drop"), json!(true)), "{:?}", shown()?);
    run(host, "vni set 100 --flood off")?;
    run(host, "vni set 100 --snoop-dhcp off")?;
    ensure!(shown()? == (json!(true), json!("drop"), json!(false)), "{:?}", shown()?);
    run(host, "vni set 100 --suppress off --suppress-unknown flood")?;
    ensure!(shown()? == (json!(false), json!("flood"), json!(false)), "{:?}", shown()?);
    run(host, "vni add 101 --suppress on")?;
    let stats = neigh::stats(host, 101)?;
    let nothing = json!({"vni": 101, "requests": 0, "answered": 0, "answered_percent": null, "not_learned": 0, "refused": 0});
    ensure!(stats == nothing, "{stats}");
    Ok(())
}

#[test]
fn bad_input_is_refused_in_one_line() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    run(host, "vni add 100")?;
    for (ip, why) in [
        ("10.1.0", "not an IP address"),
        ("10.1.0.1/24", "not an IP address"),
        ("fd01::g", "not an IP address"),
        ("0.0.0.0", "no station"),
        ("127.0.0.1", "no station"),
        ("224.0.0.1", "no station"),
        ("255.255.255.255", "no station"),
        ("::", "no station"),
        ("::1", "no station"),
        ("ff02::1", "no station"),
        ("::ffff:10.1.0.1", "write it as IPv4"),
    ] {
        refused(host, &format!("neigh add --vni 100 {ip} {MAC}"), USAGE, why)?;
        refused(host, &format!("neigh del --vni 100 {ip}"), USAGE, why)?;
    }
    for mac in ["ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01", "02:00"] {
        refused(host, &format!("neigh add --vni 100 10.1.0.1 {mac}"), USAGE, "<MAC>")?;
    }
    let of_station = |words: &str, more: &str| format!("neigh {words} 10.1.0.1 {MAC}{more}");
    refused(host, &of_station("add --vni 100", " --router"), USAGE, "--router")?;
    refused(host, &of_station("add --vni 101", ""), MISSING, "VNI 101")?;
    refused(host, &of_station("replace --vni 101", ""), MISSING, "VNI 101")?;
    all_refused(
        host,
        &[
            ("neigh flush --vni 101", MISSING, "VNI 101"),
            ("neigh show --vni 101", MISSING, "VNI 101"),
            ("neigh flush", USAGE, "--vni"),
            ("vni set 100 --suppress maybe", USAGE, "--suppress"),
            ("vni set 100 --suppress-unknown on", USAGE, "--suppress-unknown"),
            ("vni set 100 --suppress-unknown drop", USAGE, "--suppress on"),
            ("vni set 100 --snoop-dhcp on", USAGE, "--suppress on"),
            ("vni add 102 --snoop-dhcp on", USAGE, "--suppress on"),
            ("vni set 100", USAGE, "nothing to set"),
            ("stats --neigh --drops", USAGE, "--drops"),
        ],
    )
}

#[test]
fn when_there_is_no_room_requests_are_flooded_and_commands_go_before() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    run(host, &format!("vni set {VNI} --suppress on --ageing 0"))?;
    neigh::fill(&bench.instance, VNI)?;
    let announcement = Arp::request((STATION, v4(1)), v4(1));
    bench.run(Hook::Port(PORT), &announcement)?;
    neigh::expect(host, VNI, "10.1.0.1".parse()?, None)?;
    ensure!(neigh::stats(host, VNI)?["not_learned"] == 1, "{}", neigh::stats(host, VNI)?);
    let request = Arp::request((STATION, v4(1)), v4(2));
    let (outcome, drops) = bench.run(Hook::Port(PORT), &request)?;
    ensure!(outcome.frame.ends_with(&request) && drops.is_empty(), "not flooded: {drops:?}");

    run(host, &format!("neigh add --vni {VNI} 10.1.0.1 {STATION}"))?;
    neigh::expect(host, VNI, "10.1.0.1".parse()?, Some(&Neighbour::new(STATION, "static")))?;
    let flushed = host.overlay_json(&["neigh", "flush", "--vni", &VNI.to_string()])?;
    ensure!(flushed["removed"].as_u64() > Some(100_000), "{flushed}");
    bench.run(Hook::Port(PORT), &request)?;
    neigh::expect(host, VNI, "10.1.0.1".parse()?, Some(&Neighbour::new(STATION, "static")))?;
    ensure!(host.overlay_json(&["neigh", "show"])?.as_array().map(Vec::len) == Some(1));
    Ok(())
}
