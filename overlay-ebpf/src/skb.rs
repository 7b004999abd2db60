//! The socket buffer of a TC program, and the kernel's helpers on it.

use core::ffi::c_void;

#[cfg(not(feature = "explain"))]
use aya_ebpf::helpers::bpf_clone_redirect;
use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_RECOMPUTE_CSUM, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    bpf_f_adj_room_encap_l2,
    helpers::{
        bpf_check_mtu, bpf_get_hash_recalc, bpf_l3_csum_replace, bpf_skb_change_head, bpf_skb_change_tail,
        bpf_skb_change_type, bpf_skb_pull_data, bpf_skb_store_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    programs::TcContext,
};
use overlay_common::{
    Family, IfIndex,
    header::{
        eth::{self, Payload},
        ipv4, outer, udp,
    },
};

use crate::{
    helper::{Refused, done},
    maps::counters::Size,
};

/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`.
const PACKET_HOST: u32 = 0;
/// `PACKET_MULTICAST` of the same file.
const PACKET_MULTICAST: u32 = 2;

/// The `EtherType` of IPv6, as the kernel has it in a context.
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

/// The bits of a VLAN's id in a tag's control information.
const VID: u32 = 0xfff;

/// Bytes of the shortest headers of what can be cut up: Ethernet, IPv4 and UDP.
const SHORTEST_HEADERS: u32 = (eth::LEN + ipv4::LEN + udp::LEN) as u32;

/// `-EALREADY`: the skb is marked encapsulated already.
const EALREADY: i64 = -114;

/// Segments keep the size that they have.
const FIXED_GSO: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64;

/// Room for outer headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The kernel knows what the headers will be.
    Announced,
    /// The kernel takes the packet for what the frame was, until [`Skb::announce`].
    Plain,
}

/// A frame in a TC program. Methods that take `&mut self` move its bytes: no reference into them outlives such a call.
pub(crate) struct Skb {
    ctx: TcContext,
}

impl Skb {
    #[inline(always)]
    pub(crate) fn new(ctx: TcContext) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    #[inline(always)]
    pub(crate) fn fields(&self) -> &__sk_buff {
        // SAFETY: the kernel passes a valid context, and rewrites reads of its fields.
        unsafe { &*self.raw() }
    }

    /// Addresses of the first byte and of the one after the last linear one.
    #[inline(always)]
    pub(crate) fn bounds(&self) -> (usize, usize) {
        (self.ctx.data(), self.ctx.data_end())
    }

    /// Addresses of the first byte of the metadata that XDP left, and of the one after its last.
    #[inline(always)]
    pub(crate) fn metadata_bounds(&self) -> (usize, usize) {
        (self.fields().data_meta as usize, self.ctx.data())
    }

    /// Whether XDP left any.
    #[inline(always)]
    pub(crate) fn has_metadata(&self) -> bool {
        self.fields().data_meta != self.fields().data
    }

    /// Bytes, Ethernet header included.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.ctx.len()
    }

    /// The device whose hook this is.
    #[inline(always)]
    pub(crate) fn device(&self) -> Option<IfIndex> {
        IfIndex::new(self.fields().ifindex)
    }

    /// Payload bytes of each segment, where the kernel carries several as one; 0 otherwise.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        self.fields().gso_size
    }

    /// How many frames this one counts for. What a virtual machine or a program hands over to be cut up need not say (the kernel
    /// counts the segments of such later): then as many as there are, or one more.
    #[inline(always)]
    pub(crate) fn packets(&self) -> u32 {
        let (segments, size) = (self.fields().gso_segs, self.gso_size());
        if segments != 0 || size == 0 {
            return segments.max(1);
        }
        self.len().saturating_sub(SHORTEST_HEADERS).div_ceil(size).max(1)
    }

    /// What the frame counts for.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        Size { packets: self.packets(), bytes: self.len() }
    }

    /// Whether a VLAN tag waits beside the bytes.
    #[inline(always)]
    pub(crate) fn has_vlan_tag(&self) -> bool {
        self.fields().vlan_present != 0
    }

    /// Whether that tag names a VLAN. One that does not says a priority, and the frame is taken as one without (IEEE 802.1Q,
    /// section 6.9.1; `__netif_receive_skb_core` in `net/core/dev.c`).
    #[inline(always)]
    pub(crate) fn is_of_vlan(&self) -> bool {
        self.has_vlan_tag() && self.fields().vlan_tci & VID != 0
    }

    /// Whether the outer frame was addressed to this host.
    #[inline(always)]
    pub(crate) fn is_to_host(&self) -> bool {
        self.fields().pkt_type == PACKET_HOST
    }

    /// The packet mark.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        self.fields().mark
    }

    /// Sets the packet mark.
    #[inline(always)]
    pub(crate) fn set_mark(&mut self, mark: u32) {
        // SAFETY: the context is valid, and programs may write this field.
        unsafe { (*self.raw()).mark = mark };
    }

    /// Whether the outer frame was addressed to a multicast group.
    #[inline(always)]
    pub(crate) fn is_to_group(&self) -> bool {
        self.fields().pkt_type == PACKET_MULTICAST
    }

    /// Whether the kernel has a hash of the flow.
    #[inline(always)]
    pub(crate) fn has_flow_hash(&self) -> bool {
        self.noted_hash() != 0
    }

    /// The hash of the flow that the kernel has already, however it came by it; 0: none.
    #[inline(always)]
    pub(crate) fn noted_hash(&self) -> u32 {
        self.fields().hash
    }

    /// A hash of the flow, as the kernel's dissector finds it.
    #[inline(always)]
    pub(crate) fn flow_hash(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { bpf_get_hash_recalc(self.raw()) }
    }

    /// Makes the first `len` bytes linear.
    #[inline(always)]
    pub(crate) fn pull(&mut self, len: u32) -> Result<(), Refused> {
        // SAFETY: the context is valid.
        done(unsafe { bpf_skb_pull_data(self.raw(), len) })
    }

    /// Makes room for outer headers in front of the frame, and for `tags_len` bytes of VLAN tags; what is in it is undefined,
    /// and so is the inner Ethernet header, which the caller writes again.
    ///
    /// `bpf_skb_adjust_room` tells the kernel what the headers will be, which keeps a packet of several segments whole.
    /// Where an earlier tunnel has told it so, the places that it noted then are still right for the inner frame, and
    /// only the outer ones have to move. What is not IP gets plain room.
    #[inline(always)]
    pub(crate) fn make_room(
        &mut self,
        payload: Payload,
        family: Family,
        tags_len: u32,
    ) -> Result<Room, Refused> {
        const UDP_IN_ETHERNET: u64 =
            FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP as u64 | BPF_F_ADJ_ROOM_ENCAP_L2_ETH as u64;
        let network = match family {
            Family::Ipv4 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
            Family::Ipv6 => BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        };
        let len = outer::len(family) as u32 + tags_len;
        if let Payload::Ipv4 | Payload::Ipv6 = payload {
            let inner = bpf_f_adj_room_encap_l2(eth::LEN as u64 + u64::from(tags_len));
            let flags = UDP_IN_ETHERNET | u64::from(network) | inner;
            match self.ctx.adjust_room(len as i32, BPF_ADJ_ROOM_MAC, flags) {
                Ok(()) => return Ok(Room::Announced),
                Err(EALREADY) => {}
                Err(_) => return Err(Refused),
            }
        }
        self.push_room(payload, len)?;
        Ok(Room::Plain)
    }

    /// Makes the room that [`Self::make_room`] made for IPv4 larger, so that it holds IPv6.
    #[inline(always)]
    pub(crate) fn widen_room(&mut self, payload: Payload, room: Room) -> Result<(), Refused> {
        const MORE: u32 = (outer::IPV6_LEN - outer::IPV4_LEN) as u32;
        self.push_room(payload, MORE)?;
        match room {
            Room::Announced => {
                self.store(eth::LEN as u32 - 2, &[0x86, 0xdd])?;
                self.announce()
            }
            Room::Plain => Ok(()),
        }
    }

    /// Makes room behind the first Ethernet header of an IP packet, or in front of another one.
    #[inline(always)]
    fn push_room(&mut self, payload: Payload, len: u32) -> Result<(), Refused> {
        match payload {
            Payload::Ipv4 | Payload::Ipv6 => {
                self.ctx.adjust_room(len as i32, BPF_ADJ_ROOM_MAC, FIXED_GSO).map_err(|_| Refused)
            }
            // SAFETY: the context is valid.
            Payload::Vlan | Payload::Other => done(unsafe { bpf_skb_change_head(self.raw(), len, 0) }),
        }
    }

    /// Has the kernel look at the outer headers, which are there by now, and take the packet for the IP that it is.
    ///
    /// No helper does just that. But taking a VLAN tag off does it by the way (`skb_vlan_pop` in `net/core/skbuff.c`), so
    /// two tags are put on, of which the kernel keeps one beside the bytes, and taken off again.
    #[inline(always)]
    pub(crate) fn announce(&mut self) -> Result<(), Refused> {
        const DOT1Q: u16 = 0x8100_u16.to_be();
        for _ in 0..2 {
            // SAFETY: the context is valid.
            done(unsafe { bpf_skb_vlan_push(self.raw(), DOT1Q, 1) })?;
        }
        for _ in 0..2 {
            // SAFETY: the context is valid.
            done(unsafe { bpf_skb_vlan_pop(self.raw()) })?;
        }
        Ok(())
    }

    /// Removes `len` bytes behind the first Ethernet header, and tells the kernel that `payload` follows.
    ///
    /// It need be told only where that is of another family than what was removed; Linux has the flags for it since 6.3, and
    /// refuses them before.
    #[inline(always)]
    pub(crate) fn remove_room(&mut self, len: u32, payload: Payload) -> Result<(), Refused> {
        // There is no way to tell it that something else follows, and it insists on a header's length being left.
        let was_ipv6 = self.fields().protocol == ETH_P_IPV6;
        let follows = match payload {
            Payload::Ipv6 if !was_ipv6 => BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
            Payload::Ipv4 | Payload::Vlan | Payload::Other if was_ipv6 => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
            Payload::Ipv6 | Payload::Ipv4 | Payload::Vlan | Payload::Other => 0,
        };
        let flags = FIXED_GSO | u64::from(follows);
        self.ctx.adjust_room(-(len as i32), BPF_ADJ_ROOM_MAC, flags).map_err(|_| Refused)
    }

    /// Cuts the frame to `len` bytes, or pads it with zeros.
    #[inline(always)]
    pub(crate) fn resize(&mut self, len: u32) -> Result<(), Refused> {
        // SAFETY: the context is valid.
        done(unsafe { bpf_skb_change_tail(self.raw(), len, 0) })
    }

    /// Writes `bytes` at `offset`, also where the bytes are shared with a copy.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(&mut self, offset: u32, bytes: &[u8; N]) -> Result<(), Refused> {
        // SAFETY: the context is valid, and so are `N` bytes.
        done(unsafe { bpf_skb_store_bytes(self.raw(), offset, bytes.as_ptr().cast(), N as u32, 0) })
    }

    /// The same for bytes that no checksum of the packet's own makes up for: the kernel's sum over it, where it has one,
    /// follows.
    #[inline(always)]
    pub(crate) fn store_summed<const N: usize>(
        &mut self,
        offset: u32,
        bytes: &[u8; N],
    ) -> Result<(), Refused> {
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
        // SAFETY: the context is valid, and so are `N` bytes.
        done(unsafe { bpf_skb_store_bytes(self.raw(), offset, bytes.as_ptr().cast(), N as u32, flags) })
    }

    /// Makes the IPv4 header checksum at `offset` right again for two bytes that change in the header.
    #[inline(always)]
    pub(crate) fn replace_in_ipv4_checksum(
        &mut self,
        offset: u32,
        from: [u8; 2],
        to: [u8; 2],
    ) -> Result<(), Refused> {
        let word = |bytes| u64::from(u16::from_ne_bytes(bytes));
        // SAFETY: the context is valid.
        done(unsafe { bpf_l3_csum_replace(self.raw(), offset, word(from), word(to), 2) })
    }

    /// Makes the kernel take the frame as addressed to whoever receives it, as `eth_type_trans` would find.
    #[inline(always)]
    pub(crate) fn mark_for_host(&mut self) {
        if !self.is_to_host() {
            // SAFETY: the context is valid. It refuses only types that frames on these hooks do not have.
            unsafe { bpf_skb_change_type(self.raw(), PACKET_HOST) };
        }
    }

    /// The MTU of `device`, in bytes; what does not fit 16 bits is cut down to that.
    #[inline(always)]
    pub(crate) fn mtu_of(&self, device: IfIndex) -> Result<u16, Refused> {
        let mut mtu = 1;
        // SAFETY: the context is valid, and the helper writes one word. A packet of one byte fits any device.
        done(unsafe { bpf_check_mtu(self.raw().cast(), device.get(), &raw mut mtu, 0, 0) })?;
        Ok(mtu.min(u32::from(u16::MAX)) as u16)
    }

    /// Sends a copy out of `device`.
    #[inline(always)]
    #[cfg(not(feature = "explain"))]
    pub(crate) fn send_copy(&mut self, device: IfIndex) -> Result<(), Refused> {
        // SAFETY: the context is valid.
        done(unsafe { bpf_clone_redirect(self.raw(), device.get(), 0) })
    }

    /// Only says so: the kernel would send the copy in a test run, too.
    #[inline(always)]
    #[cfg(feature = "explain")]
    pub(crate) fn send_copy(&mut self, device: IfIndex) -> Result<(), Refused> {
        crate::explain::note_copy(self, device)
    }
}

impl EbpfContext for Skb {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.ctx.as_ptr()
    }
}
