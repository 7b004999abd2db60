use overlay_common::maps::config::Families;

use super::{Pass, Repair};
use crate::{error::Result, forwarding, maps};

impl Pass<'_> {
    /// Turns the loopback device's forwarding on, if somebody turned it off.
    pub(super) fn forwarding(&mut self) -> Result<()> {
        match forwarding::turn_on() {
            Ok(Families::NONE) => return Ok(()),
            Ok(turned_on) => {
                self.did(Repair::Forwarding);
                self.note_forwarding(turned_on)?;
            }
            Err(error) => self.warn(error.to_string()),
        }
        let off = forwarding::off()?;
        for (is_off, family) in [(off.ipv4, "ipv4"), (off.ipv6, "ipv6")] {
            if is_off {
                self.warn(format!(
                    "net.{family}.conf.lo.forwarding is off, so changed next hops are not followed; `sysctl -w \
                     net.{family}.conf.lo.forwarding=1` mends it"
                ));
            }
        }
        Ok(())
    }

    /// Has `down` turn it off again, unless another instance has to.
    fn note_forwarding(&mut self, turned_on: Families) -> Result<()> {
        let mut noted = Families::NONE;
        for other in self.instance.others()? {
            noted = noted.or(other.config()?.forwarding_to_restore());
        }
        let ours = Families { ipv4: turned_on.ipv4 && !noted.ipv4, ipv6: turned_on.ipv6 && !noted.ipv6 };
        let all = self.config.forwarding_to_restore().or(ours);
        self.config = self.config.with_forwarding_to_restore(all);
        maps::config::write(self.instance, &self.config)
    }
}
