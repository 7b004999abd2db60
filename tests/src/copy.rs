//! A copy of this machine: an overlay file system over its root, with processes and a BPF file system of its own, on the network
//! of a host of a lab. What is installed there is installed really, and goes with it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    netns::NetNs,
    process::{self, Background, wait_until},
};

/// What the first process of a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// One that does nothing: there is no service manager.
    Nothing,
    /// systemd, which knows of those units only that [`Copy::link_unit`] tells it.
    Systemd,
}

/// Lays the copy out in the directory `$1` and becomes its first process. Settings of the kernel that are not of a namespace are
/// not to be changed.
const PREPARE: &str = r#"
mount -t tmpfs -o mode=755 copy "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" copy "$1/root"
cd "$1/root"
mount -t proc proc proc
for part in fs kernel vm; do
    mount --bind proc/sys/$part proc/sys/$part
    mount -o remount,bind,ro proc/sys/$part
done
mount -t sysfs sysfs sys
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
# Of the machine's images and its manual, not of the package.
rm -f usr/sbin/policy-rc.d var/lib/man-db/auto-update
shift
exec chroot . "$@"
"#;

const NOTHING: &str = "echo ready; exec sleep infinity";

/// systemd, of whose own units none is wanted here.
const SYSTEMD: &str = r#"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /etc/systemd/copy/service.d
printf '[Service]\nStandardError=append:/var/log/services\n' > /etc/systemd/copy/service.d/log.conf
for target in copy sysinit basic multi-user shutdown umount final network-online; do
    printf '[Unit]\nDefaultDependencies=no\n' > /etc/systemd/copy/$target.target
done
echo ready
exec env -i PATH="$PATH" container=copy SYSTEMD_UNIT_PATH=/etc/systemd/copy \
    /lib/systemd/systemd --system --unit=copy.target --log-target=console --show-status=no
"#;

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A copy of this machine, which goes away when dropped.
#[derive(Debug)]
pub struct Copy {
    /// `unshare`, with which all processes of the copy end.
    outside: Background,
    /// The first process of the copy.
    init: u32,
    directory: PathBuf,
    cgroup: Option<PathBuf>,
}

impl Copy {
    /// Makes one whose network is that namespace.
    pub fn new(netns: &NetNs, init: Init) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("overlay-{}-{}-copy", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let cgroup = (init == Init::Systemd).then(|| make_cgroup(&name)).transpose()?;
        let mut command = netns.command("unshare");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]);
        command.args(["sh", "-euc", PREPARE, "sh"]).arg(&directory).args(["sh", "-euc"]);
        command.arg(if init == Init::Systemd { SYSTEMD } else { NOTHING });
        if let Some(cgroup) = &cgroup {
            let processes = cgroup.join("cgroup.procs");
            let mut processes = fs::OpenOptions::new().write(true).open(processes)?;
            // SAFETY: the closure only makes a system call, which is allowed between fork and exec.
            unsafe {
                command.pre_exec(move || processes.write_all(b"0"));
            }
        }
        let log = fs::File::create(directory.with_extension("log"))?;
        let mut outside = Background::start(command.stdout(Stdio::piped()).stderr(log))?;
        let stdout = outside.child().stdout.take().context("no stdout")?;
        let mut copy = Self { outside, init: 0, directory, cgroup };
        let mut line = String::new();
        let mut said = BufReader::new(stdout);
        said.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "no copy: {}", copy.log());
        // It writes to it all its life.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        copy.init = child_of(copy.outside.id())?;
        if init == Init::Systemd {
            wait_until(Instant::now() + PATIENCE, || {
                let active = copy.output(&["systemctl", "is-active", "copy.target"])?;
                Ok(active.status.success().then_some(()))
            })
            .with_context(|| format!("systemd: {}", copy.log()))?;
        }
        Ok(copy)
    }

    /// What its first process wrote on standard error.
    fn log(&self) -> String {
        fs::read_to_string(self.directory.with_extension("log")).unwrap_or_default()
    }

    /// Runs `systemctl WORDS`, which has to succeed; otherwise what services said is told.
    pub fn systemctl(&self, words: &[&str]) -> Result<()> {
        let done = self.run(&[&["systemctl"], words].concat()).map(drop);
        done.with_context(|| fs::read_to_string(self.path("/var/log/services")).unwrap_or_default())
    }

    /// A command to be run in it.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net"]);
        command.args(["--mount", "--pid", "--ipc", "--uts", "--root", "--wd", "--"]).args(words);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a command in it, which has to succeed, and returns its standard output.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        process::checked(&mut self.command(words))
    }

    /// Runs a command in it, and returns what it wrote whatever its exit status.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        process::output(&mut self.command(words))
    }

    /// Where a file of the copy is, seen from here.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.init.to_string()).join("root").join(path.trim_start_matches('/'))
    }

    /// Writes a file of the copy.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Lets systemd know of a unit.
    pub fn link_unit(&self, unit: &str) -> Result<()> {
        let target = format!("/usr/lib/systemd/system/{unit}");
        self.run(&["ln", "-s", &target, "/etc/systemd/copy/"])?;
        self.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    /// The files that are not as on this machine, and the directories that are not there.
    pub fn changes(&self) -> Result<BTreeSet<String>> {
        let changes = self.directory.join("changes");
        let mut find = Command::new("nsenter");
        find.args(["--target", &self.init.to_string(), "--mount", "find"]).arg(changes);
        let found = process::checked(find.args(["-mindepth", "1", "-printf", "%y /%P\\n"]))?;
        let entries = found.lines().filter_map(|line| line.split_once(' '));
        let is_new = |(kind, path): &(&str, &str)| *kind != "d" || !Path::new(path).exists();
        Ok(entries.filter(is_new).map(|(_, path)| path.to_owned()).collect())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Its child gets the same, and then all others do.
        let _ = self.outside.signal(nix::sys::signal::Signal::SIGKILL);
        let _ = fs::remove_file(self.directory.with_extension("log"));
        let gone = wait_until(Instant::now() + PATIENCE, || {
            Ok((!Path::new("/proc").join(self.init.to_string()).exists()).then_some(()))
        });
        let removed = gone.and_then(|()| {
            fs::remove_dir(&self.directory)?;
            self.cgroup.as_deref().map_or(Ok(()), remove_cgroup)
        });
        if let Err(error) = removed
            && !std::thread::panicking()
        {
            panic!("{}: {error:#}", self.directory.display());
        }
    }
}

/// The one child of a process.
fn child_of(process: u32) -> Result<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone())?;
    children.trim().parse().with_context(|| format!("{path}: {children:?}"))
}

/// Makes a control group in the hierarchy of version 2.
fn make_cgroup(name: &str) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|words| words.get(2) == Some(&"cgroup2")).context("no cgroup2")?;
    let path = Path::new(mount[1]).join(name);
    fs::create_dir(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Removes a control group with all that systemd made in it, once their processes are gone.
fn remove_cgroup(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    wait_until(Instant::now() + PATIENCE, || Ok(fs::remove_dir(path).ok()))
        .with_context(|| path.display().to_string())
}
