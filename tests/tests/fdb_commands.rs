//! `overlay fdb`: what is shown, flushed and replaced; what is refused of it and of the settings of learning.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{
        Bench, Hook, OTHER_PORT, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION,
        VNI, lab, udp_frame,
    },
    fdb::{counts_are_right, entry, place},
    frame::Mac,
    overlay::{EXISTS, FAILED, MISSING, USAGE},
    process,
    refusal::{all_refused, refused},
};
use serde_json::{Value, json};

/// The address of host 2.
const VTEP: &str = "10.0.0.2";
const HERE: Mac = Mac([2, 0, 0, 0, 7, 1]);
const BESIDE: Mac = Mac([2, 0, 0, 0, 7, 2]);
const AFAR: Mac = Mac([2, 0, 0, 0, 7, 3]);

/// A bench whose segment has learned one station behind each port and one behind the remote VTEP; the other segment has
/// learned one of the same.
fn learned(lab: &overlay_tests::topology::Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    for (port, mac) in [(PORT, HERE), (SECOND_PORT, BESIDE), (OTHER_PORT, HERE)] {
        bench.run(Hook::Port(port), &udp_frame(mac, REMOTE, 100))?;
    }
    bench.run(Hook::Uplink("u1"), &bench.packet(&udp_frame(AFAR, STATION, 100), |_| {})?)?;
    Ok(bench)
}

/// The segments and addresses that a command lists.
fn shown(bench: &Bench<'_>, filter: &str) -> Result<Vec<(u64, String)>> {
    let words = ["fdb", "show"].into_iter().chain(filter.split_whitespace());
    let all = bench.host().overlay_json(&words.collect::<Vec<_>>())?;
    let row = |row: &Value| Some((row["vni"].as_u64()?, row["mac"].as_str()?.to_owned()));
    let rows: Option<Vec<_>> = all.as_array().context("no array")?.iter().map(row).collect();
    rows.with_context(|| format!("{all}"))
}

fn named(stations: &[(u32, Mac)]) -> Vec<(u64, String)> {
    stations.iter().map(|(vni, mac)| (u64::from(*vni), mac.to_string())).collect()
}

#[test]
fn show_lists_what_its_filters_let_through() -> Result<()> {
    let lab = lab()?;
    let bench = learned(&lab)?;
    let vni = format!("--vni {VNI}");
    let (own, other) = ((VNI, HERE), (OTHER_VNI, HERE));
    let cases: [(String, Vec<(u32, Mac)>); 11] = [
        (format!("{vni} --origin learned"), vec![own, (VNI, BESIDE), (VNI, AFAR)]),
        ("--origin learned".to_owned(), vec![own, (VNI, BESIDE), (VNI, AFAR), other]),
        (format!("--port {PORT}"), vec![(VNI, STATION), own]),
        (format!("--port {SECOND_PORT} --origin static"), vec![(VNI, SECOND_STATION)]),
        (format!("--remote {VTEP}"), vec![(VNI, REMOTE), (VNI, AFAR)]),
        (format!("--remote {OTHER_VTEP} --origin static"), vec![(OTHER_VNI, REMOTE)]),
        (format!("{vni} --remote {OTHER_VTEP}"), vec![]),
        (HERE.to_string(), vec![own, other]),
        (format!("{vni} {HERE}"), vec![own]),
        (format!("{HERE} --port {OTHER_PORT}"), vec![other]),
        (format!("{HERE} --origin control"), vec![]),
    ];
    for (filter, expected) in cases {
        let mut expected = named(&expected);
        expected.sort();
        let mut found = shown(&bench, &filter)?;
        found.sort();
        ensure!(found == expected, "{filter}: {found:?} instead of {expected:?}");
    }
    let station = entry(bench.host(), VNI, HERE)?.context("the station is not known")?;
    let keys = ["moves", "flapping", "frozen", "frozen_s"].map(|key| station[key].clone());
    ensure!(keys == [json!(0), json!(false), json!(false), json!(0)], "{station}");
    Ok(())
}

#[test]
fn flush_removes_what_all_its_conditions_hold_of() -> Result<()> {
    let lab = lab()?;
    let vni = format!("--vni {VNI}");
    let cases: [(String, Vec<(u32, Mac)>); 9] = [
        (vni.clone(), vec![(VNI, HERE), (VNI, BESIDE), (VNI, AFAR)]),
        (format!("--port {PORT}"), vec![(VNI, HERE)]),
        (format!("--remote {VTEP}"), vec![(VNI, AFAR)]),
        ("--origin learned".to_owned(), vec![(VNI, HERE), (VNI, BESIDE), (VNI, AFAR), (OTHER_VNI, HERE)]),
        (format!("{vni} --origin static"), vec![(VNI, STATION), (VNI, SECOND_STATION), (VNI, REMOTE)]),
        (format!("--port {PORT} --origin static"), vec![(VNI, STATION)]),
        (format!("{vni} --remote {OTHER_VTEP}"), vec![]),
        (format!("{vni} --port {SECOND_PORT} --origin learned"), vec![(VNI, BESIDE)]),
        ("--origin control".to_owned(), vec![]),
    ];
    for (conditions, gone) in cases {
        let bench = learned(&lab)?;
        let mut left = shown(&bench, "")?;
        left.retain(|station| !named(&gone).contains(station));
        let words = ["fdb", "flush"].into_iter().chain(conditions.split_whitespace());
        let removed = bench.host().overlay_json(&words.collect::<Vec<_>>())?;
        ensure!(removed == json!({"removed": gone.len()}), "{conditions}: {removed}");
        let found = shown(&bench, "")?;
        ensure!(found == left, "{conditions}: {found:?} instead of {left:?}");
        counts_are_right(bench.host(), VNI)?;
    }
    let bench = learned(&lab)?;
    let said = bench.host().overlay(&["fdb", "flush", "--vni", &VNI.to_string()])?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn replace_puts_a_station_elsewhere_wherever_it_was() -> Result<()> {
    let lab = lab()?;
    let bench = learned(&lab)?;
    let host = bench.host();
    let vni = VNI.to_string();
    for mac in [STATION, HERE, AFAR, Mac([2, 0, 0, 0, 7, 9])] {
        for at in [["--port", SECOND_PORT], ["--remote", VTEP], ["--remote", VTEP]] {
            host.overlay(&[&["fdb", "replace", "--vni", &vni, &mac.to_string()], &at[..]].concat())?;
            ensure!(place(host, VNI, mac)?.as_deref() == Some(at[1]), "{mac} is not at {at:?}");
            let entry = entry(host, VNI, mac)?.context("no entry")?;
            ensure!(entry["origin"] == "static", "{entry}");
        }
    }
    ensure!(counts_are_right(host, VNI)? == 1, "what was learned is not any more");
    Ok(())
}

#[test]
fn limits_below_what_is_there_are_refused() -> Result<()> {
    let lab = lab()?;
    let bench = learned(&lab)?;
    let host = bench.host();
    host.overlay(&["vni", "set", &VNI.to_string(), "--learn-limit", "3"])?;
    refused(host, &format!("vni set {VNI} --learn-limit 2"), FAILED, "3 stations of VNI")?;
    refused(host, &format!("vni set {VNI} --learning off --learn-limit 1"), FAILED, "--learn-limit 1")?;
    bench.run(Hook::Port(PORT), &udp_frame(BESIDE, REMOTE, 100))?;
    host.overlay(&["port", "set", PORT, "--learn-limit", "2"])?;
    refused(host, &format!("port set {PORT} --learn-limit 1"), FAILED, "2 stations of p1")?;
    // As the message says.
    host.overlay(&["fdb", "flush", "--port", PORT])?;
    host.overlay(&["port", "set", PORT, "--learn-limit", "1"])?;
    host.overlay(&["vni", "set", &VNI.to_string(), "--learn-limit", "1"]).map(drop)
}

#[test]
fn what_makes_no_sense_is_refused() -> Result<()> {
    let lab = lab()?;
    let bench = learned(&lab)?;
    let vni = VNI.to_string();
    let cases = [
        ("fdb flush", USAGE, "--vni"),
        ("fdb flush --origin wrong", USAGE, "wrong"),
        ("fdb flush --port nosuch", MISSING, "nosuch"),
        ("fdb flush --port u1", MISSING, "u1"),
        ("fdb flush --remote 10.0.0.9", MISSING, "10.0.0.9"),
        ("fdb flush --vni 9", MISSING, "9"),
        ("fdb show --origin dynamic", USAGE, "dynamic"),
        ("fdb show --port nosuch", MISSING, "nosuch"),
        ("fdb show --remote 10.0.0.9", MISSING, "10.0.0.9"),
        ("fdb show --remote host", USAGE, "host"),
        ("fdb show 01:00:5e:00:00:01", USAGE, "01:00:5e:00:00:01"),
        ("fdb replace --vni 9 02:00:00:00:00:01 --port p1", MISSING, "9"),
        ("fdb replace --vni VNI 02:00:00:00:00:01 --port q1", MISSING, "q1"),
        ("fdb replace --vni VNI 02:00:00:00:00:01 --remote 10.0.0.9", MISSING, "10.0.0.9"),
        ("fdb replace --vni VNI 01:00:5e:00:00:01 --port p1", USAGE, "01:00:5e:00:00:01"),
        ("fdb replace --vni VNI 02:00:00:00:00:01", USAGE, "--remote"),
        ("fdb add --vni VNI 02:00:00:00:01:01 --port p2", EXISTS, "fdb replace"),
        ("vni set VNI", USAGE, "nothing to set"),
        ("vni set VNI --learn-limit -1", USAGE, "-1"),
        ("vni set VNI --learn-limit many", USAGE, "many"),
        ("vni set VNI --flap-window 0", USAGE, "0"),
        ("vni set VNI --flap-moves 65536", USAGE, "65536"),
        ("vni set VNI --flap-moves 0 --flap-freeze 10", USAGE, "--flap-moves"),
        ("vni add 77 --flap-moves 0 --flap-freeze 10", USAGE, "--flap-moves"),
        ("vni set 9 --learn-limit 10", MISSING, "9"),
        ("port set p1", USAGE, "--learn-limit"),
        ("port set nosuch --learn-limit 1", MISSING, "nosuch"),
        ("port set u1 --learn-limit 1", MISSING, "u1"),
        ("port add nosuch --vni VNI --learn-limit some", USAGE, "some"),
    ];
    let cases = cases.map(|(command, code, about)| (command.replace("VNI", &vni), code, about));
    let cases: Vec<_> =
        cases.iter().map(|(command, code, about)| (command.as_str(), *code, *about)).collect();
    all_refused(bench.host(), &cases)
}

#[test]
fn an_ageing_time_of_zero_means_never_and_the_command_says_so() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &[])?;
    let vni = VNI.to_string();
    for (command, is_said) in [
        (&["vni", "set", &vni, "--ageing", "0"][..], true),
        (&["vni", "add", "77", "--ageing", "0"], true),
        (&["vni", "set", &vni, "--ageing", "300"], false),
    ] {
        let output = process::output(&mut bench.host().overlay_command(command)?)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.success() && output.stdout.is_empty(), "{said}");
        ensure!(said.lines().count() == usize::from(is_said), "{said}");
        ensure!(!is_said || said.contains("never"), "{said}");
    }
    ensure!(bench.host().overlay(&["vni", "show", "77"])?.contains("never"));
    Ok(())
}
