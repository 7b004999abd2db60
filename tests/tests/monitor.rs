//! `overlay monitor` tells what happens, as it happens.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::Notice;
use overlay_tests::{
    bench::{Bench, Fate, Hook, NOBODY, PORT, REMOTE, SECOND_PORT, STATION, VNI, lab, udp_frame},
    frame::Mac,
    listening::Listening,
    overlay::FAILED,
    process,
};
use serde_json::{Value, json};

const UPLINK: Hook<'_> = Hook::Uplink("u1");
const MOVER: Mac = Mac([2, 0, 0, 0, 9, 1]);

fn from_port(bench: &Bench<'_>, port: &str, from: Mac, to: Mac) -> Result<()> {
    bench.run(Hook::Port(port), &udp_frame(from, to, 100)).map(drop)
}

fn from_uplink(bench: &Bench<'_>, from: Mac) -> Result<()> {
    let inner = udp_frame(from, STATION, 100);
    let packet = bench.packet(&inner, |_| {})?;
    bench.check(UPLINK, &packet, &Fate::Redirected(inner))
}

/// An event without its time, which has to be one.
fn timeless(mut event: Value) -> Result<Value> {
    let time = event.as_object_mut().context("no object")?.remove("time").context("no time")?;
    let time = time.as_str().context("no text")?;
    ensure!(time.len() == 27 && time.ends_with('Z'), "{time}");
    Ok(event)
}

fn events(listening: &Listening, count: usize) -> Result<Vec<Value>> {
    (0..count).map(|_| timeless(listening.json()?)).collect()
}

#[test]
fn stations_that_come_move_and_go_are_told_as_json() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    let listening = Listening::start(host, &["-o", "json", "monitor", "--drops"])?;
    from_port(&bench, PORT, MOVER, REMOTE)?;
    from_port(&bench, SECOND_PORT, MOVER, REMOTE)?;
    from_uplink(&bench, MOVER)?;
    from_port(&bench, PORT, STATION, NOBODY)?;
    from_port(&bench, PORT, Mac([1; 6]), REMOTE)?;
    host.overlay(&["fdb", "del", "--vni", &vni, &MOVER.to_string()])?;
    host.overlay(&["fdb", "add", "--vni", &vni, &MOVER.to_string(), "--port", PORT])?;
    let told = events(&listening, 7)?;
    let text: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert_snapshot!("told_as_json", text.join("\n"));
    let (rest, last) = listening.end()?;
    ensure!(rest.is_empty(), "{rest:?}");
    ensure!(last.contains(" 0 events lost"), "{last}");
    Ok(())
}

#[test]
fn lines_are_of_the_segment_and_the_kinds_that_were_asked_for() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let moves = Listening::start(host, &["monitor", "--kind", "moved", "--vni", &VNI.to_string()])?;
    let others = Listening::start(host, &["monitor", "--kind", "moved", "--vni", "5"])?;
    let both = Listening::start(host, &["monitor", "--kind", "learned,moved"])?;
    from_port(&bench, PORT, MOVER, REMOTE)?;
    from_uplink(&bench, MOVER)?;
    let line = moves.line()?;
    let expected = format!(" moved VNI {VNI} {MOVER} remote 10.0.0.2 from port {PORT}");
    ensure!(line.ends_with(&expected), "{line}");
    ensure!(both.line()?.contains("learned") && both.line()?.contains("moved"));
    for listening in [moves, others, both] {
        ensure!(listening.end()?.0.is_empty(), "more than was asked for");
    }
    Ok(())
}

#[test]
fn a_limit_that_fires_is_told() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    host.overlay(&["vni", "set", &VNI.to_string(), "--learn-limit", "1", "--flap-moves", "2"])?;
    let listening = Listening::start(host, &["-o", "json", "monitor", "--kind", "limit,flaps"])?;
    from_port(&bench, PORT, MOVER, REMOTE)?;
    from_port(&bench, PORT, Mac([2, 0, 0, 0, 9, 2]), REMOTE)?;
    for _ in 0..2 {
        from_uplink(&bench, MOVER)?;
        from_port(&bench, PORT, MOVER, REMOTE)?;
    }
    let told = events(&listening, 2)?;
    ensure!(told[0]["event"] == "limit" && told[0]["mac"] == "02:00:00:00:09:02", "{told:?}");
    ensure!(told[1]["event"] == "flaps" && told[1]["mac"] == MOVER.to_string(), "{told:?}");
    Ok(())
}

#[test]
fn a_flood_of_drops_is_told_within_bounds() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let listening = Listening::start(bench.host(), &["-o", "json", "monitor", "--kind", "dropped"])?;
    let frame = udp_frame(Mac([1; 6]), REMOTE, 100);
    let begin = std::time::Instant::now();
    for _ in 0..6000 {
        bench.run(Hook::Port(PORT), &frame)?;
    }
    let seconds = begin.elapsed().as_secs() + 2;
    let withheld = bench.host().noticed(Notice::EventWithheld)?;
    let (told, last) = listening.end()?;
    let told = u64::try_from(told.len())?;
    ensure!(
        told <= 1000 * seconds && told + withheld == 6000,
        "{told} and {withheld} in {seconds} s: {last}"
    );
    ensure!(withheld == 0 || last.contains(&format!(" {withheld} withheld")), "{last}");
    Ok(())
}

#[test]
fn it_ends_with_a_closed_pipe_and_with_its_instance() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let hung = Listening::start(host, &["monitor"])?.hang_up();
    for number in 1..=3 {
        from_port(&bench, PORT, Mac([2, 0, 0, 0, 8, number]), REMOTE)?;
    }
    ensure!(hung.wait()?.contains("ended"));
    let listening = Listening::start(host, &["monitor"])?;
    bench.instance.down()?;
    let (_, last) = listening.wait()?;
    ensure!(last.contains("taken down"), "{last}");
    Ok(())
}

#[test]
fn what_was_killed_makes_room_for_another() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let mut all = (0..4).map(|_| Listening::start(host, &["monitor"])).collect::<Result<Vec<_>>>()?;
    let failure = host.overlay_fails(&["monitor"])?;
    ensure!(failure.code == FAILED && failure.stderr.contains("end one"), "{failure:?}");
    all.pop().context("none")?.kill()?;
    let last = Listening::start(host, &["-o", "json", "monitor"])?;
    from_port(&bench, PORT, MOVER, REMOTE)?;
    let expected = json!({"event": "learned", "vni": VNI, "mac": MOVER.to_string(), "place": {"port": PORT}});
    ensure!(timeless(last.json()?)? == expected);
    for listening in all {
        ensure!(listening.line()?.contains("learned"));
    }
    Ok(())
}
