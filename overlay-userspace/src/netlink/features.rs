//! What devices do with XDP, as the generic netlink family `netdev` tells it (`include/uapi/linux/netdev.h`, from Linux 6.3).

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use overlay_common::IfIndex;

use crate::error::{Context as _, Result};

/// The family's name.
const FAMILY: &str = "netdev";
/// `NETDEV_CMD_DEV_GET`.
const DEV_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX`: 32 bits.
const IFINDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`: 64 bits.
const XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`: frames can be redirected to the device.
const NDO_XMIT: u64 = 1 << 2;

/// Whether a device takes frames that XDP redirects to it, as it is now. `None`: this kernel does not tell.
///
/// # Errors
///
/// Fails if there is no such device in this thread's network namespace, or if the kernel does.
pub(crate) fn takes_xdp(device: IfIndex) -> Result<Option<bool>> {
    let mut socket = open().context(|| "cannot open a generic netlink socket")?;
    let Some(family) = family(&mut socket) else { return Ok(None) };
    let what = || format!("cannot tell whether device {device} takes frames from XDP");
    let question = DefaultNla::new(IFINDEX, device.get().to_ne_bytes().to_vec());
    let question = Device { command: DEV_GET, attributes: vec![question] };
    let message = GenlMessage::new(GenlHeader { cmd: DEV_GET, version: 1 }, question, family);
    let answer = ask(&mut socket, message).context(what)?;
    let features = answer.attributes.iter().find_map(xdp_features);
    Ok(features.map(|features| features & NDO_XMIT != 0))
}

fn open() -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The number that the kernel gave to the family; none where it does not know it.
fn family(socket: &mut Socket) -> Option<u16> {
    let name = GenlCtrlAttrs::FamilyName(FAMILY.to_owned());
    let mut message = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
    message.finalize();
    let answer = ask(socket, message).ok()?;
    answer.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    })
}

/// Sends a message, and waits for the one that answers it.
fn ask<F>(socket: &mut Socket, message: GenlMessage<F>) -> std::io::Result<F>
where
    F: std::fmt::Debug,
    GenlMessage<F>: NetlinkSerializable + NetlinkDeserializable,
{
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<GenlMessage<F>>::deserialize(&bytes).map_err(std::io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(answer) => Ok(answer.payload),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(std::io::Error::other("the kernel gave no answer")),
    }
}

fn xdp_features(attribute: &DefaultNla) -> Option<u64> {
    let mut bytes = vec![0; netlink_packet_core::Nla::value_len(attribute)];
    netlink_packet_core::Nla::emit_value(attribute, &mut bytes);
    let is_it = netlink_packet_core::Nla::kind(attribute) == XDP_FEATURES;
    bytes.try_into().ok().filter(|_| is_it).map(u64::from_ne_bytes)
}

/// A message of the family about a device.
#[derive(Clone, Debug)]
struct Device {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(buffer).map(|attribute| DefaultNla::parse(&attribute?));
        Ok(Self { command: header.cmd, attributes: attributes.collect::<Result<_, _>>()? })
    }
}
