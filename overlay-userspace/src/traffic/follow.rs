//! Reading an instance time and again.

use std::time::Duration;

use tokio::{task::spawn_blocking, time::sleep};

use super::sample::Sample;
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// A command that takes the instance down, or brings it up anew, takes a moment: maps that cannot be read meanwhile are read
/// again after so long,
const PAUSE: Duration = Duration::from_millis(100);
/// and so often.
const TRIES: u32 = 20;

/// The shortest time between two looks: what is shown more often nobody can follow.
pub const SHORTEST: Duration = Duration::from_millis(100);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Who reads an instance that may go meanwhile.
#[derive(Clone, Debug)]
pub struct Follower {
    name: String,
}

impl Follower {
    /// Of the instance of that name, which has to be up.
    ///
    /// # Errors
    ///
    /// As [`Instance::open`].
    pub fn open(name: &str) -> Result<Self> {
        Instance::watch(name)?;
        Ok(Self { name: name.to_owned() })
    }

    /// Reads it, on a thread that may wait for the kernel.
    ///
    /// # Errors
    ///
    /// Fails if the instance was taken down, or if a map cannot be read.
    pub async fn read(&self) -> Result<Sample> {
        let mut tries = 0;
        loop {
            let name = self.name.clone();
            let read = move || Sample::read(&Instance::watch(&name)?);
            match spawn_blocking(read).await.context(|| "cannot read what was counted")? {
                Ok(sample) => return Ok(sample),
                Err(_) if Instance::glance(&self.name).is_none() => {
                    return Err(Error::Failed(format!("instance {} was taken down", self.name)));
                }
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => tries += 1,
            }
            sleep(PAUSE).await;
        }
    }
}
