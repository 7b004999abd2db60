//! An instance: one data path, its pins, and the lock that commands take.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use overlay_common::maps::{
    config::{Config, SCHEMA},
    device::{DeviceName, Role},
};

use crate::{
    bpffs,
    error::{Context as _, Error, Result},
    maps::{self, config, generation},
    netlink::Link,
    netns,
};

/// An instance that is up, locked against other commands until dropped, unless it is only looked at.
#[derive(Debug)]
pub struct Instance {
    name: String,
    path: PathBuf,
    lock: Option<Flock<File>>,
}

/// The name of the instance that a command means: the given one, else the one of this network namespace.
///
/// # Errors
///
/// [`Error::Usage`] for a name that cannot be a file's.
pub fn name(given: Option<&str>) -> Result<String> {
    let Some(given) = given else {
        return Ok(format!("net-{}", netns::cookie()?));
    };
    let fits = (1..=64).contains(&given.len())
        && !given.starts_with('-')
        && given.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits {
        return Ok(given.to_owned());
    }
    Err(Error::Usage(format!("--instance {given:?}: a name has 1 to 64 letters, digits, `-` and `_`")))
}

impl Drop for Instance {
    /// What the programs found out under what held before does not hold any more.
    fn drop(&mut self) {
        if self.lock.is_some() {
            // The map is there once the instance is, and no more when it was taken down.
            let _ = generation::begin(self);
        }
    }
}

impl Instance {
    /// Makes the directories of a new instance.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if it is up already.
    pub fn create(name: &str) -> Result<Self> {
        let path = Path::new(bpffs::ROOT).join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(format!(
                    "instance {name} is up already; `overlay down` takes it down"
                )));
            }
            made => made.context(|| format!("cannot make {}", path.display()))?,
        }
        let lock = lock(&path, FlockArg::LockExclusive)?
            .ok_or_else(|| Error::Failed(format!("instance {name} went away meanwhile")))?;
        let instance = Self { name: name.to_owned(), path, lock: Some(lock) };
        for directory in [instance.maps(), instance.programs(), instance.links()] {
            fs::create_dir(&directory).context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(instance)
    }

    /// Opens the instance of that name, which has to be one of this network namespace and this version.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if it is not up, or is another namespace's or version's.
    pub fn open(name: &str) -> Result<Self> {
        let instance = Self::find(name)?.ok_or_else(|| is_down(name))?;
        instance.check(&instance.config()?)?;
        Ok(instance)
    }

    /// Opens the instance of that name as [`Self::open`] does, but only to be looked at: what comes beside it keeps commands that
    /// change it waiting, and others that look not.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn look(name: &str) -> Result<(Self, Flock<File>)> {
        let instance = Self::glance(name).ok_or_else(|| is_down(name))?;
        let lock = lock(&instance.path, FlockArg::LockShared)?.ok_or_else(|| is_down(name))?;
        instance.check(&instance.config()?)?;
        Ok((instance, lock))
    }

    /// Opens the instance of that name as [`Self::open`] does, only to be looked at, whoever has the lock.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn watch(name: &str) -> Result<Self> {
        let instance = Self::glance(name).ok_or_else(|| is_down(name))?;
        instance.check(&instance.config()?)?;
        Ok(instance)
    }

    /// Finds the instance of that name, whatever is in it; `None` if it is not up.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be locked.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let path = Path::new(bpffs::ROOT).join(name);
        Ok(lock(&path, FlockArg::LockExclusive)?.map(|lock| Self {
            name: name.to_owned(),
            path,
            lock: Some(lock),
        }))
    }

    /// The instance of that name if it is up, only to be looked at.
    #[must_use]
    pub fn glance(name: &str) -> Option<Self> {
        let path = Path::new(bpffs::ROOT).join(name);
        path.exists().then(|| Self { name: name.to_owned(), path, lock: None })
    }

    /// The other instances of this network namespace, only to be looked at.
    ///
    /// # Errors
    ///
    /// Fails if the directory of all instances cannot be read.
    pub fn others(&self) -> Result<Vec<Self>> {
        let own = netns::cookie()?;
        Ok(of_namespace(own)?.into_iter().filter(|other| other.name != self.name).collect())
    }

    /// Refuses a device that is a port of this instance, or wanted as one.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it is.
    pub fn refuse_port(&self, link: &Link) -> Result<()> {
        let wanted = match DeviceName::new(&link.name) {
            Some(name) => maps::devices(self)?.get(name)?,
            None => None,
        };
        let is_wanted = wanted.is_some_and(|device| matches!(device.role(), Role::Port(_)));
        if !is_wanted && maps::ports(self)?.get(link.index.get())?.is_none() {
            return Ok(());
        }
        Err(Error::Conflict(format!("{} is a port of instance {}", link.name, self.name)))
    }

    /// Checks that an instance's configuration is one of this network namespace and this version.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if it is not, or if bringing it up was cut off.
    pub fn check(&self, config: &Config) -> Result<()> {
        let name = &self.name;
        if *config == Config::default() {
            return Err(Error::Failed(format!(
                "bringing instance {name} up was cut off; `overlay down` clears what is left of it"
            )));
        }
        self.check_version(config)?;
        if config.netns_cookie() != netns::cookie()? {
            return Err(Error::Failed(format!(
                "instance {name} belongs to another network namespace; name that one with --netns"
            )));
        }
        Ok(())
    }

    /// Checks that an instance's configuration is one of this version.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if it is not.
    pub fn check_version(&self, config: &Config) -> Result<()> {
        if config.schema() == SCHEMA {
            return Ok(());
        }
        Err(self.is_of_another_version())
    }

    /// The same, only to be looked at: other commands can have the lock.
    #[must_use]
    pub fn to_look_at(&self) -> Self {
        Self { name: self.name.clone(), path: self.path.clone(), lock: None }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of its pinned maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.path.join("maps")
    }

    /// The directory of its pinned programs.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.path.join("programs")
    }

    /// The directory of its pinned links.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// The directory of those who listen to events: an empty directory for each, locked while it is there.
    #[must_use]
    pub fn listeners(&self) -> PathBuf {
        self.path.join("listeners")
    }

    /// What holds for the whole instance.
    ///
    /// # Errors
    ///
    /// Fails if the map is gone.
    pub fn config(&self) -> Result<Config> {
        config::read(self)
    }

    /// The same; the default where bringing the instance up was cut off before there was any.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if there is one that this version cannot read.
    pub fn config_if_any(&self) -> Result<Config> {
        if !self.maps().join(overlay_common::maps::config::NAME).exists() {
            return Ok(Config::default());
        }
        self.config().map_err(|_| self.is_of_another_version())
    }

    fn is_of_another_version(&self) -> Error {
        let name = &self.name;
        Error::Failed(format!(
            "instance {name} was brought up by another version of overlay; take it down with that one"
        ))
    }

    /// Removes all pins. What they held goes with them.
    ///
    /// # Errors
    ///
    /// Fails at the first pin that cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// The names of all instances on this host that are up, whatever namespace they belong to.
///
/// # Errors
///
/// Fails if the directory cannot be read.
pub fn all() -> Result<Vec<String>> {
    if !Path::new(bpffs::ROOT).exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(bpffs::ROOT).context(|| format!("cannot read {}", bpffs::ROOT))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The instances of the network namespace with that cookie, only to be looked at.
///
/// # Errors
///
/// Fails if the directory of all instances cannot be read.
pub fn of_namespace(cookie: u64) -> Result<Vec<Instance>> {
    let all = all()?.into_iter().map(|name| {
        let path = Path::new(bpffs::ROOT).join(&name);
        Instance { name, path, lock: None }
    });
    Ok(all.filter(|instance| instance.config().is_ok_and(|config| config.netns_cookie() == cookie)).collect())
}

fn is_down(name: &str) -> Error {
    Error::Failed(format!("instance {name} is not up; `overlay up --uplink DEV` brings it up"))
}

/// Locks a directory; `None` if it is not there, or was removed while another command had the lock.
fn lock(path: &Path, how: FlockArg) -> Result<Option<Flock<File>>> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    let inode = file.metadata().context(|| format!("cannot read {}", path.display()))?.ino();
    let lock = Flock::lock(file, how)
        .map_err(|(_, error)| Error::failed(format!("cannot lock {}", path.display()), error))?;
    let still_there = fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode);
    Ok(still_there.then_some(lock))
}
