//! The pair that cuts packets up, for VTEPs that want UDP checksums.

use std::fmt;

use overlay_common::{IfIndex, maps::config::Cutter};

use super::{Pass, Repair};
use crate::{
    cutter::{self, Names},
    datapath::{self, CHECKSUM_CUT},
    error::Result,
    hook,
    netlink::Link,
};

/// What can be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not there, or not whole.
    Gone,
    /// An end of it is down.
    Down,
    /// It leaves packets whole.
    Offloads,
    /// The program is not on its exit.
    Program,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "was gone",
            Self::Down => "was down",
            Self::Offloads => "had offloads on",
            Self::Program => "had lost its program",
        })
    }
}

impl Pass<'_> {
    /// Sees to it that the pair is there and works, as long as a remote VTEP wants it.
    pub(super) async fn cutter(&mut self) -> Result<()> {
        if !cutter::is_wanted(self.instance)? {
            let removed = cutter::remove(self.instance, self.netlink).await;
            self.attempt(removed);
            self.config = self.instance.config()?;
            return Ok(());
        }
        let names = Names::of(self.instance)?;
        if let Err(error) = self.mend_cutter(names).await {
            self.warn(cutter::without(&error));
        }
        self.config = self.instance.config()?;
        Ok(())
    }

    async fn mend_cutter(&mut self, names: Names) -> Result<()> {
        let Some([entrance, exit]) = self.config.cutter().and_then(|pair| self.ends(pair, names)) else {
            cutter::remove(self.instance, self.netlink).await?;
            cutter::make(self.instance, self.netlink).await?;
            self.did(Repair::Cutter(Flaw::Gone));
            return Ok(());
        };
        if !cutter::cuts(names)? {
            cutter::turn_offloads_off(names)?;
            self.did(Repair::Cutter(Flaw::Offloads));
        }
        let program = datapath::classifier_id(self.instance, CHECKSUM_CUT)?;
        if !hook::is_attached(self.netlink, self.tc(), &exit, program).await {
            cutter::attach_again(self.instance, self.tc(), &exit)?;
            self.did(Repair::Cutter(Flaw::Program));
        }
        if !(entrance.is_up && exit.is_up) {
            self.netlink.bring_up(exit.index).await?;
            self.netlink.bring_up(entrance.index).await?;
            self.did(Repair::Cutter(Flaw::Down));
        }
        Ok(())
    }

    /// Entrance and exit, if both are there and called as they should be.
    fn ends(&self, pair: Cutter, names: Names) -> Option<[Link; 2]> {
        let end = |index: IfIndex, name: &str| self.link(index).filter(|link| link.name == name).cloned();
        Some([end(pair.entrance, names.entrance.as_str())?, end(pair.exit, names.exit.as_str())?])
    }
}
