//! What the kernel's own network configuration says, by rtnetlink.

mod address;
mod bridge;
pub(crate) mod counted;
mod create;
mod event;
mod features;
mod group;
mod link;
mod multipath;
mod neighbour;
mod nsid;
mod qdisc;
mod route;
mod rules;
mod vxlan;

pub use address::Address;
pub use bridge::{Bridge, BridgePort, Forwarding, Knower};
pub use event::Event;
pub(crate) use features::takes_xdp;
pub use link::{ForeignVxlan, Link, LinkKind};
pub use neighbour::Resolution;
pub use route::{Destination, Route};
pub(crate) use rules::{has_bridge_rules, has_rules};
pub use vxlan::Vxlan;

use rtnetlink::Handle;

use crate::error::{Context as _, Result};

/// A connection to the kernel of this thread's network namespace.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Connects. Has to be called within a tokio runtime, which then serves the connection.
    ///
    /// # Errors
    ///
    /// Fails if the kernel refuses a socket.
    pub fn connect() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context(|| "cannot open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}
