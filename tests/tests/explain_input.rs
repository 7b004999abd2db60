//! What `overlay explain` takes: frames by description, by bytes and out of captures; and what it refuses, in one line.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{Bench, PORT, REMOTE, STATION, lab, udp_frame},
    overlay::{FAILED, Failure, MISSING, USAGE},
};

/// Files that go with the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("overlay-explain-{}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.0.join(name);
        fs::write(&path, bytes)?;
        path.to_str().map(str::to_owned).context("a strange directory")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A pcap file with these packets; `kept`: bytes that are there of each.
fn pcap(link: u32, packets: &[&[u8]], kept: usize) -> Vec<u8> {
    let mut bytes = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x40000, link].map(u32::to_le_bytes).concat();
    for packet in packets {
        let kept = kept.min(packet.len());
        let lengths = [0, 0, u32::try_from(kept).unwrap(), u32::try_from(packet.len()).unwrap()];
        bytes.extend(lengths.map(u32::to_le_bytes).concat());
        bytes.extend(&packet[..kept]);
    }
    bytes
}

/// A pcapng file with these packets.
fn pcapng(packets: &[&[u8]]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes()[..], &len, body, &len].concat()
    };
    let mut bytes = block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat());
    bytes.extend(block(1, &[1, 0, 0, 0, 0, 0, 4, 0]));
    for packet in packets {
        let len = u32::try_from(packet.len()).unwrap();
        let mut body = [0, 0, 0, len, len].map(u32::to_le_bytes).concat();
        body.extend(*packet);
        body.resize(body.len().next_multiple_of(4), 0);
        bytes.extend(block(6, &body));
    }
    bytes
}

#[test]
fn packets_of_captures_are_taken_by_number() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let files = Files::new("numbers")?;
    let frames = [udp_frame(STATION, STATION, 60), udp_frame(STATION, REMOTE, 77)];
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    for file in [files.write("a.pcap", &pcap(1, &frames, 9999))?, files.write("a.pcapng", &pcapng(&frames))?]
    {
        let first = bench.host().overlay_json(&["explain", "--port", PORT, "--pcap", &file])?;
        ensure!(first["reason"]["name"] == "same-port", "{first:#}");
        let second =
            bench.host().overlay_json(&["explain", "--port", PORT, "--pcap", &format!("{file}:2")])?;
        ensure!(second["verdict"] == "redirected" && second["packet"]["length"] == 127, "{second:#}");
        let packet = bench.packet(&udp_frame(REMOTE, STATION, 60), |_| {})?;
        let tunnel = files.write("tunnel.pcap", &pcap(1, &[&packet], 9999))?;
        // The only uplink need not be named.
        let received = bench.host().overlay_json(&["explain", "--pcap", &tunnel, "--from-uplink"])?;
        ensure!(received["device"] == "u1" && received["to"]["device"] == PORT, "{received:#}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_explained_is_one_line() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let files = Files::new("refused")?;
    let frame = udp_frame(STATION, REMOTE, 98);
    let whole = pcap(1, &[&frame], 9999);
    let good = files.write("good.pcap", &whole)?;
    let cut = files.write("cut.pcap", &whole[..whole.len() - 1])?;
    let whole = pcapng(&[&frame]);
    let cut_ng = files.write("cut.pcapng", &whole[..whole.len() - 4])?;
    let short = files.write("short.pcap", &pcap(1, &[&frame], 64))?;
    let cooked = files.write("cooked.pcap", &pcap(113, &[&frame], 9999))?;
    let none = files.write("none.pcap", &pcap(1, &[], 9999))?;
    let text = files.write("text", b"no capture at all")?;
    let empty = files.write("empty", b"")?;
    let of = |file: &str| vec!["--port".to_owned(), PORT.to_owned(), "--pcap".to_owned(), file.to_owned()];
    let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (words, code, said) in [
        (of(&format!("{good}:2")), FAILED, "has no packet 2; its packets are 1 to 1"),
        (of(&cut), FAILED, "cut off behind packet 0"),
        (of(&cut_ng), FAILED, "cut off behind packet 0"),
        (of(&short), FAILED, "only 64 of 98 bytes were kept"),
        (of(&cooked), FAILED, "is no Ethernet frame"),
        (of(&none), FAILED, "has no packets"),
        (of(&text), FAILED, "is no capture file"),
        (of(&empty), FAILED, "is no capture file"),
        (of("/nowhere.pcap"), FAILED, "cannot open /nowhere.pcap"),
        (of(&format!("{good}:0")), USAGE, "numbered from 1"),
        (
            words("--port p9 --dst 02:00:00:00:00:01"),
            MISSING,
            "p9 is no port of this instance; there is p1, p2, q1",
        ),
        (
            words("--port u1 --dst 02:00:00:00:00:01"),
            MISSING,
            "u1 is no port of this instance; there is p1, p2, q1",
        ),
        (words("--from-uplink u2 --hex 00"), MISSING, "u2 is no uplink of this instance; there is u1"),
        (words("--port p1"), USAGE, "required"),
        (words("--dst 02:00:00:00:00:01"), USAGE, "required"),
        (words("--port p1 --hex 0"), USAGE, "two hexadecimal digits"),
        (words("--port p1 --hex 0011"), FAILED, "the kernel runs no program on a frame of 2 bytes"),
        (words("--port p1 --hex 00 --dst 02:00:00:00:00:01"), USAGE, "cannot be used with"),
        (words("--from-uplink --dst 02:00:00:00:00:01"), USAGE, "cannot be used with"),
        (words("--port p1 --dst 02:00:00:00:00:01 --len 20"), USAGE, "name 42 bytes or more"),
        (words("--port p1 --dst 02:00:00:00:00:01 --ip ::2 --src-ip 10.0.0.1"), USAGE, "different families"),
        (words("--port p1 --dst 02:00:00:00:00:01 --proto arp --ip ::2"), USAGE, "IPv4 addresses only"),
    ] {
        let arguments: Vec<&str> = ["explain"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let Failure { code: got, stderr } = bench.host().overlay_fails(&arguments)?;
        ensure!(got == code && stderr.contains(said), "{arguments:?}: {got}, {stderr}");
        ensure!(
            stderr.trim_end().lines().count() == 1 && !stderr.contains("panicked"),
            "{arguments:?}: {stderr}"
        );
    }
    Ok(())
}

#[test]
fn frames_are_made_as_described() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let to = REMOTE.to_string();
    let ask = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        bench.host().overlay_json(&[&["explain", "--port", PORT, "--dst", &to], &words[..]].concat())
    };
    let header = |said: &serde_json::Value, name: &str| {
        let headers = said["packet"]["headers"].as_array().cloned().unwrap_or_default();
        headers.into_iter().find(|header| header["name"] == name).map(|header| header["fields"].clone())
    };
    let said = ask("")?;
    let ethernet = header(&said, "inner Ethernet").context("no inner frame")?;
    ensure!(said["length"] == 98 && ethernet["source"] == STATION.to_string(), "{said:#}");
    let said = ask("--proto tcp --ip 10.1.0.2 --src-ip 10.1.0.1 --dport 80 --sport 4000 --len 200")?;
    let (ip, tcp) = (header(&said, "inner IPv4"), header(&said, "inner TCP"));
    let (ip, tcp) = (ip.context("no IPv4")?, tcp.context("no TCP")?);
    ensure!(
        said["length"] == 200 && ip["destination"] == "10.1.0.2" && ip["source"] == "10.1.0.1",
        "{said:#}"
    );
    ensure!(
        tcp["destination port"] == "80" && tcp["source port"] == "4000" && tcp["flags"] == "SYN",
        "{said:#}"
    );
    let said = ask("--proto icmp --ip fd00::7")?;
    let icmp = header(&said, "inner ICMPv6").with_context(|| format!("no ICMPv6: {said:#}"))?;
    ensure!(icmp["type"] == "128", "{said:#}");
    let said = ask("--proto icmp")?;
    ensure!(header(&said, "inner ICMP").is_some_and(|icmp| icmp["type"] == "8"), "{said:#}");
    let said = ask("--proto arp --ip 10.1.0.9")?;
    ensure!(header(&said, "inner ARP").is_some_and(|arp| arp["target address"] == "10.1.0.9"), "{said:#}");
    let said = ask("--vlan 7 --src 02:00:00:00:05:05")?;
    ensure!(said["reason"]["name"] == "inner-vlan" && said["steps"][0]["vlans"][0] == 7, "{said:#}");
    Ok(())
}
