//! Files that `overlay apply` refuses: one line that says where, and nothing is changed.

use std::{
    fmt::Write as _,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use nix::fcntl::{Flock, FlockArg};
use overlay_tests::{
    declared::TempFile,
    overlay::{Failure, Instance, has_pins},
    process,
    topology::{Host, Lab, Plan},
};

const HEAD: &str = "[vtep]\nuplinks = [\"u1\"]\n";
const SEGMENT: &str = "[[vni]]\nid = 100\nports = [\"p100-1\"]\nremotes = [\"10.0.0.2\"]\n";

/// What is refused: what follows [`HEAD`].
const CASES: [&str; 30] = [
    "[[vni]\nid = 100\n",
    "[[vni]]\nid = \n",
    "[[vni]]\nremotes = []\n",
    "[[vni]]\nid = 100\nlearnin = true\n",
    "[[vni]]\nid = 0\n",
    "[[vni]]\nid = 16777216\n",
    "[[vni]]\nid = 100\n[[vni]]\nid = 100\n",
    "[[vni]]\nid = 100\nttl = 256\n",
    "[[vni]]\nid = 100\nlearning = \"perhaps\"\n",
    "[[vni]]\nid = 100\nflap-window = 0\n",
    "[[vni]]\nid = 100\nsuppress-unknown = \"drop\"\n",
    "[[vni]]\nid = 100\nmtu = 9000\n",
    "[[vni]]\nid = 100\nports = [\"nosuch\"]\n",
    "[[vni]]\nid = 100\nports = [\"u1\"]\n",
    "[[vni]]\nid = 100\nports = [\"p100-1\"]\n[[vni]]\nid = 200\nports = [\"p100-1\"]\n",
    "[[vni]]\nid = 100\nports = [\"p100-1\", \"p100-1\"]\n",
    "[[port]]\nname = \"p100-1\"\n",
    "[[port]]\nname = \"p100-1\"\nvlan = \"10:1,10:2\"\n",
    "[[port]]\nname = \"p100-1\"\nvni = 100\naddress = [\"10.5.0.1/24\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"10.0.0.1\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"10.0.0.2\", \"10.0.0.2\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"nowhere\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"10.0.0.255\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"10.0.0.2\"]\n[[vni]]\nid = 200\n[[vni.tunnel]]\nremote = \"10.0.0.2\"\nport = 8472\n",
    "[[vni]]\nid = 100\nremotes = [\"239.1.1.1\", \"239.1.1.2\"]\n",
    "[[vni]]\nid = 100\nremotes = [\"10.0.0.2\"]\n[[vni.fdb]]\nmac = \"02:00:00:00:00:01\"\nremote = \"10.0.0.2\"\n[[vni.fdb]]\nmac = \"02:00:00:00:00:01\"\nremote = \"10.0.0.2\"\n",
    "[[vni]]\nid = 100\n[[vni.fdb]]\nmac = \"01:00:00:00:00:01\"\nport = \"p100-1\"\n",
    "[[vni]]\nid = 100\n[[vni.fdb]]\nmac = \"02:00:00:00:00:01\"\nremote = \"10.0.0.2\"\n",
    "[[vni]]\nid = 100\n[[vni.neigh]]\nip = \"10.1.0.1\"\nmac = \"02:00:00:00:00:01\"\nrouter = true\n",
    "[[vni]]\nid = 100\n[[vni.mdb]]\ngroup = \"10.1.0.1\"\nport = \"p100-1\"\n",
];

fn transcript(host: &Host) -> Result<String> {
    let mut said = String::new();
    for case in CASES {
        let Failure { code, stderr } = host.apply_fails(&format!("{HEAD}{case}"))?;
        ensure!(stderr.lines().count() == 1, "{case:?}: not one line: {stderr}");
        write!(said, "{code} {stderr}")?;
    }
    Ok(said)
}

#[test]
fn each_says_where_and_what_and_changes_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _workload = host.workload(&Plan::new(100, 1))?;
    let said = transcript(host)?;
    ensure!(!has_pins(host)?, "there are pins");
    assert_snapshot!("refused", said);
    host.apply(&format!("{HEAD}{SEGMENT}"), &[])?;
    let _instance = Instance::adopt(host)?;
    let before = host.overlay(&["export"])?;
    let again = transcript(host)?;
    ensure!(again == said, "with an instance that is up:\n{again}\nand without:\n{said}");
    ensure!(host.overlay(&["export"])? == before, "something was changed");
    let cases = [
        (format!("[vtep]\nuplinks = [\"u1\"]\nport = 4790\n{SEGMENT}"), "vtep.port cannot be changed"),
        (format!("[vtep]\nuplinks = [\"u1\"]\nfdb-size = 9\n{SEGMENT}"), "vtep.fdb-size cannot be changed"),
        (format!("[vtep]\nuplinks = [\"nosuch\"]\n{SEGMENT}"), "nosuch"),
        (format!("[vtep]\nuplinks = [\"u1\"]\nlocal = \"10.9.9.9\"\n{SEGMENT}"), "10.9.9.9"),
        (format!("[vtep]\nuplinks = [\"u1\"]\nlocal = \"fd00::1\"\n{SEGMENT}"), "no IPv4 address"),
    ];
    for (text, about) in cases {
        let failure = host.apply_fails(&text)?;
        ensure!(
            failure.stderr.contains(about) && failure.stderr.lines().count() == 1,
            "{about}: {failure:?}"
        );
    }
    ensure!(host.overlay(&["export"])? == before, "something was changed");
    Ok(())
}

#[test]
fn a_file_that_is_changed_meanwhile() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _workload = host.workload(&Plan::new(100, 1))?;
    host.apply(HEAD, &[])?;
    let instance = Instance::adopt(host)?;
    let file = TempFile::new(&format!("{HEAD}{SEGMENT}"))?;
    let lock = Flock::lock(fs::File::open(instance.pins())?, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("the instance's lock")?;
    let mut apply = host.overlay_command(&["apply", "-f", file.name()])?;
    let applying = apply.stderr(Stdio::piped()).spawn()?;
    let pid = applying.id().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    process::wait_until(deadline, || {
        let locks = fs::read_to_string("/proc/locks")?;
        let waits = |line: &&str| line.contains("->") && line.split_whitespace().any(|word| word == pid);
        Ok(locks.lines().find(waits).map(drop))
    })
    .context("it does not wait for the lock")?;
    fs::write(file.path(), HEAD)?;
    drop(lock);
    let output = applying.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(1) && said.contains("was changed while it was being applied"),
        "{said}"
    );
    ensure!(host.overlay_json(&["vni", "show"])?.as_array().is_some_and(Vec::is_empty), "it was applied");
    Ok(())
}
