//! What devices have counted, and those at the other ends of veths, wherever they are.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, Stats64},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use overlay_common::IfIndex;

use crate::error::{Context as _, Result};

/// Asks the kernel, in the network namespace of the thread that made it.
pub(crate) struct Counted {
    socket: Socket,
}

impl Counted {
    /// Opens a netlink socket.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub(crate) fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        Ok(Self { socket: open().context(|| "cannot open a netlink socket")? })
    }

    /// What a device has counted; of a veth, what it received and what its other end did. What is handed straight to that
    /// (`bpf_redirect_peer`), only that end counts as received. `None`: it is not there.
    pub(crate) fn by_device(&self, device: IfIndex) -> Option<Both> {
        let link = self.link(device.get(), None).ok()?;
        let own = counts(&link)?;
        let other = self.other_end(&link).and_then(|other| counts(&other));
        let received =
            other.map_or((own.tx_packets, own.tx_bytes), |other| (other.rx_packets, other.rx_bytes));
        Some(Both { from: (own.rx_packets, own.rx_bytes), to: received })
    }

    fn other_end(&self, link: &LinkMessage) -> Option<LinkMessage> {
        let is_veth = |attribute: &LinkAttribute| {
            let LinkAttribute::LinkInfo(about) = attribute else { return false };
            about.contains(&LinkInfo::Kind(InfoKind::Veth))
        };
        if !link.attributes.iter().any(is_veth) {
            return None;
        }
        let index = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Link(index) => Some(*index),
            _ => None,
        })?;
        let namespace = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkNetNsId(id) => Some(*id),
            _ => None,
        });
        self.link(index, namespace).ok()
    }

    /// The device of that index, in the network namespace that is known here by that number.
    fn link(&self, index: u32, namespace: Option<i32>) -> io::Result<LinkMessage> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        question.attributes.extend(namespace.map(LinkAttribute::IfNetnsId));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetLink(question));
        message.header.flags = NLM_F_REQUEST;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (bytes, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::Error::other("the kernel gave no answer")),
        }
    }
}

/// Frames and their bytes, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Both {
    /// What a device received.
    pub(crate) from: (u64, u64),
    /// What went out of it.
    pub(crate) to: (u64, u64),
}

fn counts(link: &LinkMessage) -> Option<Stats64> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(counts) => Some(*counts),
        _ => None,
    })
}
