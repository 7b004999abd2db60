//! Addresses that no other host has.

use std::net::IpAddr;

use crate::{
    error::{Error, Result},
    netlink::{Destination, Netlink},
};

/// Refuses an address that the kernel knows to be no other host's.
///
/// # Errors
///
/// [`Error::Usage`] if it is one.
pub(super) async fn refuse_no_hosts(netlink: &Netlink, remote: IpAddr) -> Result<()> {
    let what = match netlink.destination(remote).await {
        Destination::Ourselves => "is an address of this host",
        Destination::Everybody => "is the broadcast address of a network",
        Destination::Elsewhere => return Ok(()),
    };
    Err(Error::Usage(format!("--remote {remote} {what}, and no remote VTEP's; name another host's")))
}
