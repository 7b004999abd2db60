//! The names of what events tell by numbers.

use std::collections::HashMap;

use nix::net::if_::if_indextoname;
use overlay_common::maps::event::Whereabouts;
use serde::Serialize;

use crate::{error::Result, instance::Instance, maps::vteps::Vteps};

/// Names of devices and remote VTEPs. What is gone keeps the name that it had.
pub struct Names {
    vteps: Vteps,
    devices: HashMap<u32, String>,
}

/// A place: a port, or a remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The port's device.
    Port(String),
    /// The VTEP's address.
    Remote(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(name) => write!(f, "port {name}"),
            Self::Remote(address) => write!(f, "remote {address}"),
        }
    }
}

impl Names {
    /// Those of an instance.
    ///
    /// # Errors
    ///
    /// Fails if it was taken down.
    pub fn open(instance: &Instance) -> Result<Self> {
        Ok(Self { vteps: Vteps::open(instance)?, devices: HashMap::new() })
    }

    /// The name of the device with that index.
    pub fn device(&mut self, index: u32) -> String {
        // Of a device that is gone, nix says that it has no name, and no error.
        let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
        let name = name.filter(|name| !name.is_empty());
        let known = self.devices.entry(index).or_insert_with(|| format!("#{index}"));
        if let Some(name) = name {
            *known = name;
        }
        known.clone()
    }

    /// The name of the place that an event has as `words`; `None` if it has none.
    pub fn place(&mut self, words: [u32; 2]) -> Option<Place> {
        Some(match Whereabouts::of(words)? {
            Whereabouts::Port(device) => Place::Port(self.device(device.get())),
            Whereabouts::Vtep(id) => {
                let vtep = self.vteps.get(id).ok().flatten();
                Place::Remote(
                    vtep.map_or_else(|| format!("#{}", id.index()), |vtep| vtep.remote().to_string()),
                )
            }
        })
    }
}
