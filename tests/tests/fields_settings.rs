//! Settings of header fields on the command line: what is shown, and what is refused in one line and changes nothing.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    overlay::{EXISTS, Instance, MISSING, USAGE},
    topology::{Host, Lab},
};
use serde_json::json;

/// The command is refused with `code`, in one line that names `about`, and what was configured stays as it was.
fn refused(host: &Host, command: &str, code: i32, about: &str) -> Result<()> {
    let before = host.configuration()?;
    let failure = host.overlay_fails(&command.split_whitespace().collect::<Vec<_>>())?;
    let text = &failure.stderr;
    ensure!(text.lines().count() == 1 && text.starts_with("overlay: "), "`{command}`: {text}");
    ensure!(text.contains(about), "`{command}` does not name {about}: {text}");
    ensure!(failure.code == code, "`{command}`: exit code {} instead of {code}: {text}", failure.code);
    ensure!(before == host.configuration()?, "`{command}` changed something");
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    instance.reach(100, lab.host(2))?;
    for (command, code, about) in [
        ("vni set 100 --ttl 0", USAGE, "from 1 to 255"),
        ("vni set 100 --ttl 256", USAGE, "256"),
        ("vni set 100 --ttl -1", USAGE, "-1"),
        ("vni set 100 --ttl copy", USAGE, "inherit"),
        ("vni set 100 --dscp 64", USAGE, "from 0 to 63"),
        ("vni set 100 --dscp ef", USAGE, "ef"),
        ("vni set 100 --df maybe", USAGE, "maybe"),
        ("vni set 100 --source-ports 2000-1000", USAGE, "2000 is more than 1000"),
        ("vni set 100 --source-ports 0-1000", USAGE, "0 is no port"),
        ("vni set 100 --source-ports 1-65536", USAGE, "1-65536"),
        ("vni set 100 --source-ports 1000", USAGE, "49152-65535"),
        ("vni set 100 --reserved refuse", USAGE, "refuse"),
        ("vni set 100 --gbp yes", USAGE, "yes"),
        ("vni set 100 --ttl 9 --source-ports 9-8", USAGE, "9 is more than 8"),
        ("vni add 200 --source-ports 9-8", USAGE, "9 is more than 8"),
        ("vni set 200 --ttl 9", MISSING, "200"),
        ("vni set 100", USAGE, "nothing to set"),
        ("tunnel add --vni 200 --remote 10.0.0.2 --port 8472", EXISTS, "--port 4789"),
        ("tunnel add --vni 200 --remote 10.0.0.3 --port 0", USAGE, "0"),
        ("tunnel add --vni 200 --remote 10.0.0.3 --port 65536", USAGE, "65536"),
    ] {
        refused(host, command, code, about)?;
    }
    Ok(())
}

#[test]
fn settings_are_shown_and_stay_until_changed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    let shown = || -> Result<serde_json::Value> {
        let mut row = host.overlay_json(&["vni", "show", "100"])?[0].take();
        let row = row.as_object_mut().context("no object")?;
        row.retain(|key, _| ["ttl", "dscp", "df", "source_ports", "reserved", "gbp"].contains(&key.as_str()));
        Ok(row.clone().into())
    };
    host.overlay(&["vni", "add", "100"])?;
    let default = json!({
        "ttl": 64, "dscp": 0, "df": "set", "source_ports": "49152-65535", "reserved": "ignore", "gbp": false,
    });
    ensure!(shown()? == default, "{}", shown()?);
    host.overlay(&["vni", "set", "100", "--ttl", "inherit", "--dscp", "46", "--source-ports", "1-9"])?;
    host.overlay(&["vni", "set", "100", "--df", "inherit", "--reserved", "drop", "--gbp", "on"])?;
    let all = json!({
        "ttl": "inherit", "dscp": 46, "df": "inherit", "source_ports": "1-9", "reserved": "drop", "gbp": true,
    });
    ensure!(shown()? == all, "{}", shown()?);
    let table = host.overlay(&["vni", "show"])?;
    let words = "ttl=inherit,dscp=46,df=inherit,source-ports=1-9,reserved=drop,gbp=on";
    ensure!(table.contains(words), "{table}");
    Ok(())
}
