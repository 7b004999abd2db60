//! Rules of the packet filter for bridges, as the subsystem `nf_tables` of netfilter's netlink tells it
//! (`include/uapi/linux/netfilter/nf_tables.h`).

use std::fs;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte, `NFT_MSG_GETTABLE` in the lower one.
const GET_TABLES: u16 = 10 << 8 | 1;
/// `NFT_MSG_NEWTABLE`: what answers that.
const NEW_TABLE: u16 = 10 << 8;
/// `NLM_F_REQUEST` and `NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NFPROTO_BRIDGE` of `include/uapi/linux/netfilter.h`.
const BRIDGE: u8 = 7;
/// Bytes of `struct nlmsghdr` and of `struct nfgenmsg`.
const LEN: u32 = 16 + 4;

/// All families.
const ANY: u8 = 0;

/// Whether the packet filter has tables for bridges in this thread's network namespace. A kernel without it has none.
pub(crate) fn has_bridge_rules() -> bool {
    has_tables(BRIDGE)
}

/// Whether the packet filter has tables of any family there, or older ones (`iptables-legacy`).
pub(crate) fn has_rules() -> bool {
    let is_named =
        |what| fs::read(format!("/proc/net/{what}_tables_names")).is_ok_and(|names| !names.is_empty());
    has_tables(ANY) || ["ip", "ip6", "arp"].into_iter().any(is_named)
}

fn has_tables(family: u8) -> bool {
    ask(family).is_ok_and(|answer| answer.get(4..6) == Some(&NEW_TABLE.to_ne_bytes()))
}

fn ask(family: u8) -> std::io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut question = [0; LEN as usize];
    question[..4].copy_from_slice(&LEN.to_ne_bytes());
    question[4..6].copy_from_slice(&GET_TABLES.to_ne_bytes());
    question[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    question[16] = family;
    socket.send(&question, 0)?;
    Ok(socket.recv_from_full()?.0)
}
