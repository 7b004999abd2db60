//! `overlay fdb … --from`: many stations at once, all or none; and how much there is room for.

use std::{fmt::Write as _, fs, io::Write as _, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, OTHER_PORT, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, SECOND_PORT, SECOND_STATION,
        STATION, VNI, lab, udp_frame,
    },
    fdb::{counts_are_right, place},
    frame::Mac,
    overlay::{EXISTS, FAILED, Instance, MISSING, USAGE},
    refusal::{all_refused, refused},
    testrun::TC_REDIRECT,
    topology::Host,
};

const VTEP: &str = "10.0.0.2";

/// More stations than one run of the program takes, and not a multiple of that.
const MANY: u16 = 1001;

fn nth(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([2, 0, 0, 8, high, low])
}

/// Files that go with the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("overlay-{name}-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        path.to_str().map(str::to_owned).context("a path")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many stations there are, by `status`.
fn stations(host: &Host) -> Result<u64> {
    host.overlay_json(&["status"])?["stations"].as_u64().context("no count")
}

/// Lines that put each of many stations somewhere.
fn lines(place: impl Fn(u16) -> &'static str) -> Result<String> {
    let mut text = String::from("# all of them\n\n");
    for number in 0..MANY {
        writeln!(text, "{}\t{}  # {number}", nth(number), place(number))?;
    }
    Ok(text)
}

#[test]
fn the_stations_of_a_file_are_put_moved_and_taken_away() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    let files = Files::new("put")?;
    let before = stations(host)?;
    // What was learned of them does not count any more.
    for number in [0, 500, 1000] {
        bench.run(Hook::Port(PORT), &udp_frame(nth(number), REMOTE, 100))?;
    }
    ensure!(counts_are_right(host, VNI)? == 3);
    let file = files.write("stations", &lines(|number| if number % 2 == 0 { VTEP } else { SECOND_PORT })?)?;
    host.overlay(&["fdb", "add", "--vni", &vni, "--from", &file])?;
    ensure!(stations(host)? == before + u64::from(MANY) && counts_are_right(host, VNI)? == 0);
    let (even, odd) = (udp_frame(STATION, nth(1000), 100), udp_frame(STATION, nth(999), 100));
    ensure!(bench.run(Hook::Port(PORT), &even)?.0.frame.len() > even.len(), "not encapsulated");
    bench.check(Hook::Port(PORT), &odd, &Fate::Redirected(odd.clone()))?;

    refused(host, &format!("fdb add --vni {vni} --from {file}"), EXISTS, "line 3 of ")?;
    host.overlay(&["fdb", "add", "--vni", &vni, "--from", &file, "--exist-ok"])?;
    let other_way =
        files.write("other-way", &lines(|number| if number % 2 == 1 { VTEP } else { SECOND_PORT })?)?;
    refused(host, &format!("fdb add --vni {vni} --from {other_way} --exist-ok"), EXISTS, "line 3 of ")?;
    host.overlay(&["fdb", "replace", "--vni", &vni, "--from", &other_way])?;
    ensure!(stations(host)? == before + u64::from(MANY));
    ensure!(place(host, VNI, nth(1000))?.as_deref() == Some(SECOND_PORT));
    ensure!(place(host, VNI, nth(999))?.as_deref() == Some(VTEP));

    // The place behind an address does not matter where it goes.
    host.overlay(&["fdb", "del", "--vni", &vni, "--from", &file])?;
    ensure!(stations(host)? == before && counts_are_right(host, VNI)? == 0);
    refused(host, &format!("fdb del --vni {vni} --from {file}"), MISSING, "line 3 of ")?;
    host.overlay(&["fdb", "del", "--vni", &vni, "--from", &file, "--missing-ok"]).map(drop)
}

#[test]
fn a_file_may_come_from_a_pipe_and_be_about_many_segments() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let text = format!(
        "{VNI} {} {PORT}\n{OTHER_VNI} {} {OTHER_VTEP}\n{OTHER_VNI} {} {OTHER_PORT}",
        nth(1),
        nth(1),
        nth(2)
    );
    for (verb, there) in [("add", true), ("replace", true), ("del", false)] {
        let mut command = host.overlay_command(&["fdb", verb, "--from", "-"])?;
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
        ensure!(child.wait()?.success(), "{verb}");
        for (vni, mac, at) in
            [(VNI, nth(1), PORT), (OTHER_VNI, nth(1), OTHER_VTEP), (OTHER_VNI, nth(2), OTHER_PORT)]
        {
            let found = place(host, vni, mac)?;
            ensure!(found.as_deref() == Some(at).filter(|_| there), "{verb}: {vni} {mac}: {found:?}");
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_nothing_is_changed() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let files = Files::new("wrong")?;
    let good = lines(|_| VTEP)?;
    let twice = format!("{} of VNI {VNI} is named twice", nth(7));
    let untold = format!("VNI {VNI} has no tunnel to 10.0.0.9");
    let cases = [
        ("mac", "02:00:00:00:00:0g 10.0.0.2", USAGE, "\"02:00:00:00:00:0g\": not a MAC address"),
        ("group", "01:00:5e:00:00:01 10.0.0.2", USAGE, "01:00:5e:00:00:01 is a group address"),
        ("zero", "00:00:00:00:00:00 10.0.0.2", USAGE, "00:00:00:00:00:00 is a group address or zero"),
        ("nowhere", "02:00:00:00:00:05", USAGE, "where is 02:00:00:00:00:05"),
        ("more", "02:00:00:00:00:05 p1 p2", USAGE, "\"p2\" is one word too many"),
        ("remote", "02:00:00:00:00:05 10.0.0.9", MISSING, &untold),
        ("other", "02:00:00:00:00:05 q1", MISSING, "q1 is no port of VNI"),
        ("device", "02:00:00:00:00:05 nosuch", FAILED, "there is no device nosuch"),
        ("twice", "02:00:00:08:00:07 p1", USAGE, &twice),
        ("there", "02:00:00:00:01:01 p2", EXISTS, "02:00:00:00:01:01 of VNI"),
    ];
    let mut commands = Vec::new();
    for (name, line, code, about) in cases {
        let path = files.write(name, &format!("{good}{line}\n02:00:00:00:00:06 p1\n"))?;
        // Two lines of comment and space come first.
        let told = format!("line {} of {path}: {about}", MANY + 3);
        commands.push((format!("fdb add --vni {VNI} --from {path}"), code, told));
    }
    let path = files.write("segments", "3 02:00:00:00:00:05 p1\n")?;
    commands.push((format!("fdb add --from {path}"), MISSING, "line 1 of".to_owned()));
    let path = files.write("number", "x 02:00:00:00:00:05 p1\n")?;
    commands.push((format!("fdb add --from {path}"), USAGE, "line 1 of".to_owned()));
    let path = files.write("gone", &format!("{SECOND_STATION}\n02:00:00:00:00:05\n"))?;
    commands.push((format!("fdb del --vni {VNI} --from {path}"), MISSING, "line 2 of".to_owned()));
    commands.push(("fdb add --from /nonexistent".to_owned(), FAILED, "/nonexistent".to_owned()));
    commands.push((format!("fdb add --vni {VNI} --from {path} --port p1"), USAGE, "--port".to_owned()));
    commands.push((
        format!("fdb add --vni {VNI} 02:00:00:00:00:05 --from {path}"),
        USAGE,
        "--from".to_owned(),
    ));
    commands.push(("fdb add 02:00:00:00:00:05 --port p1".to_owned(), USAGE, "--vni".to_owned()));
    let cases: Vec<_> =
        commands.iter().map(|(command, code, about)| (command.as_str(), *code, about.as_str())).collect();
    all_refused(bench.host(), &cases)
}

#[test]
fn a_file_for_which_there_is_no_room_changes_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "512"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    let files = Files::new("full")?;
    // It moves what is there before it finds no more room.
    let text = format!("{REMOTE} {PORT}\n{SECOND_STATION} {PORT}\n{}", lines(|_| VTEP)?);
    let path = files.write("stations", &text)?;
    refused(host, &format!("fdb replace --vni {vni} --from {path}"), FAILED, "the FDB is full")?;
    // Learned stations make way, but there are not enough of them.
    for number in 2000..2100 {
        bench.run(Hook::Port(PORT), &udp_frame(nth(number), REMOTE, 100))?;
    }
    refused(host, &format!("fdb replace --vni {vni} --from {path}"), FAILED, "the FDB is full")?;
    counts_are_right(host, VNI)?;
    ensure!(place(host, VNI, REMOTE)?.as_deref() == Some(VTEP));
    // What fits is put, whatever was learned.
    for number in 2000..2600 {
        bench.run(Hook::Port(PORT), &udp_frame(nth(number), REMOTE, 100))?;
    }
    let fitting = text.lines().take(500).collect::<Vec<_>>().join("\n");
    let path = files.write("fitting", &fitting)?;
    host.overlay(&["fdb", "replace", "--vni", &vni, "--from", &path])?;
    counts_are_right(host, VNI)?;
    ensure!(place(host, VNI, REMOTE)?.as_deref() == Some(PORT));
    let frame = udp_frame(SECOND_STATION, nth(400), 100);
    let (outcome, _) = bench.run(Hook::Port(SECOND_PORT), &frame)?;
    ensure!(outcome.verdict == TC_REDIRECT && outcome.frame.len() > frame.len(), "not encapsulated");
    Ok(())
}

#[test]
fn there_are_as_many_remote_vteps_as_was_asked_for() -> Result<()> {
    let lab = lab()?;
    let host = lab.host(1);
    let local = host.vtep.to_string();
    let instance = Instance::up(host, &["--xdp", "off", "--local", &local, "--max-vteps", "2"])?;
    for remote in ["10.0.0.2", "10.0.0.3"] {
        host.overlay(&["tunnel", "add", "--vni", "100", "--remote", remote])?;
    }
    // One that is there takes no more room.
    host.overlay(&["tunnel", "add", "--vni", "200", "--remote", "10.0.0.3"])?;
    refused(host, "tunnel add --vni 100 --remote 10.0.0.4", FAILED, "--max-vteps")?;
    let other = format!("up --uplink u1 --xdp off --local {local} --max-vteps 3 --exist-ok");
    refused(host, &other, EXISTS, "--max-vteps")?;
    host.overlay(&[
        "up",
        "--uplink",
        "u1",
        "--xdp",
        "off",
        "--local",
        &local,
        "--max-vteps",
        "2",
        "--exist-ok",
    ])?;
    host.overlay(&["tunnel", "del", "--vni", "100", "--remote", "10.0.0.2"])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.4"])?;
    instance.down()
}
