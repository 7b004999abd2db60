//! The numbers by which a network namespace knows others: where the other ends of its veths are.

use std::{
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _},
};

use futures_util::StreamExt as _;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};

use super::Netlink;

impl Netlink {
    /// The number of the network namespace that an open file stands for; `None`: nothing here leads there.
    pub(crate) async fn namespace_id(&self, namespace: &File) -> Option<i32> {
        let fd = u32::try_from(namespace.as_fd().as_raw_fd()).ok()?;
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(fd));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        message.header.flags = NLM_F_REQUEST;
        let mut answers = self.handle.clone().request(message).ok()?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) =
            answers.next().await?.payload
        else {
            return None;
        };
        answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(*id).filter(|id| *id >= 0),
            _ => None,
        })
    }
}
