//! `CONFIG`: what holds for the whole instance.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{Family, IfIndex, UnderlayAddr};

/// The map's name: an array of one [`Config`].
pub const NAME: &str = "CONFIG";

/// The only index.
pub const INDEX: u32 = 0;

/// Number of the layout of all maps; a program of another layout must not touch them.
pub const SCHEMA: u32 = 6;

/// How many local VTEP addresses there can be.
pub const MAX_LOCALS: usize = 4;

/// What holds for the whole instance. The default, all zeros, is what the map holds before it is written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    netns_cookie: u64,
    mark: u64,
    schema: u32,
    port: u16,
    local_count: u8,
    flags: u8,
    /// Entrance and exit.
    cutter: [u32; 2],
    /// For IPv4 and IPv6.
    listeners: [u32; 2],
    locals: [UnderlayAddr; MAX_LOCALS],
}

map_data!(Config);

/// `down` has to turn the loopback device's IPv4 forwarding off again.
const RESTORE_FORWARDING: u8 = 1;
/// `down` has to turn the loopback device's IPv6 forwarding off again.
const RESTORE_FORWARDING_IPV6: u8 = 1 << 2;
/// The TC programs are clsact filters, not TCX links.
const CLSACT: u8 = 1 << 1;

/// Tunnel packets shall be merged wherever they come in.
const MERGES_ALWAYS: u8 = 1 << 3;
/// Tunnel packets shall not be merged.
const MERGES_NEVER: u8 = 1 << 4;
/// Nobody but our own devices takes tunnel packets from the kernel.
const LISTENS_ALONE: u8 = 1 << 5;

/// The local addresses are those of the uplinks, and follow them.
const FOLLOWS: u8 = 1 << 7;

/// A choice of IP families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// Whether IPv4 is one of them.
    pub ipv4: bool,
    /// Whether IPv6 is one of them.
    pub ipv6: bool,
}

impl Families {
    /// Neither.
    pub const NONE: Self = Self { ipv4: false, ipv6: false };

    /// The families of either choice.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 || other.ipv4, ipv6: self.ipv6 || other.ipv6 }
    }
}

/// A veth pair of ours that has the kernel cut up what it carries as one: what is whole is sent by its entrance, and comes
/// out of its exit in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutter {
    /// The end without offloads.
    pub entrance: IfIndex,
    /// The other end, with a program that takes the pieces.
    pub exit: IfIndex,
}

/// Whether the kernel shall merge tunnel packets as they come in (GRO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Where that is faster.
    Auto,
    /// In any case.
    Always,
    /// Not because of us.
    Never,
}

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcHook {
    /// As TCX links, from Linux 6.6 on.
    Tcx,
    /// As filters of a clsact qdisc.
    Clsact,
}

impl Config {
    /// A VTEP at the addresses `locals` and UDP port `port` (host byte order) in the network namespace with that
    /// cookie. `mark` is a secret that the XDP program signs its verdicts with. `None` if there is no local address or more than [`MAX_LOCALS`].
    #[must_use]
    pub fn new(netns_cookie: u64, mark: u64, locals: &[UnderlayAddr], port: u16) -> Option<Self> {
        Self { netns_cookie, mark, schema: SCHEMA, port, ..Self::default() }.with_locals(locals)
    }

    /// The same with other local addresses. `None` if there is none or more than [`MAX_LOCALS`].
    #[must_use]
    pub fn with_locals(self, locals: &[UnderlayAddr]) -> Option<Self> {
        let mut all = [UnderlayAddr::default(); MAX_LOCALS];
        all.get_mut(..locals.len())?.copy_from_slice(locals);
        let local_count = u8::try_from(locals.len()).ok().filter(|&count| count > 0)?;
        Some(Self { local_count, locals: all, ..self })
    }

    /// Notes whether the local addresses are those of the uplinks, and follow them.
    #[must_use]
    pub const fn with_following(self, on: bool) -> Self {
        self.with(FOLLOWS, on)
    }

    /// Notes the families that `down` has to turn the loopback device's forwarding off again for.
    #[must_use]
    pub const fn with_forwarding_to_restore(self, families: Families) -> Self {
        self.with(RESTORE_FORWARDING, families.ipv4).with(RESTORE_FORWARDING_IPV6, families.ipv6)
    }

    /// Notes how TC programs are attached.
    #[must_use]
    pub const fn with_tc(self, hook: TcHook) -> Self {
        self.with(CLSACT, matches!(hook, TcHook::Clsact))
    }

    /// Notes the pair that cuts up what goes to VTEPs with UDP checksums.
    #[must_use]
    pub fn with_cutter(self, pair: Option<Cutter>) -> Self {
        let cutter = pair.map_or([0; 2], |pair| [pair.entrance.get(), pair.exit.get()]);
        Self { cutter, ..self }
    }

    /// Notes whether tunnel packets shall be merged.
    #[must_use]
    pub const fn with_merging(self, choice: Merging) -> Self {
        self.with(MERGES_ALWAYS, matches!(choice, Merging::Always))
            .with(MERGES_NEVER, matches!(choice, Merging::Never))
    }

    /// Notes the device of ours that has the kernel listen for tunnel packets of a family, which it then merges.
    #[must_use]
    pub fn with_listener(mut self, family: Family, device: Option<IfIndex>) -> Self {
        self.listeners[Self::listener_index(family)] = device.map_or(0, IfIndex::get);
        self
    }

    /// Notes whether nobody else has the kernel listen for tunnel packets.
    #[must_use]
    pub const fn with_listening_alone(self, on: bool) -> Self {
        self.with(LISTENS_ALONE, on)
    }

    const fn listener_index(family: Family) -> usize {
        match family {
            Family::Ipv4 => 0,
            Family::Ipv6 => 1,
        }
    }

    const fn with(mut self, flag: u8, on: bool) -> Self {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }

    /// The families that `down` has to turn the loopback device's forwarding off again for.
    #[must_use]
    pub const fn forwarding_to_restore(&self) -> Families {
        Families {
            ipv4: self.flags & RESTORE_FORWARDING != 0,
            ipv6: self.flags & RESTORE_FORWARDING_IPV6 != 0,
        }
    }

    /// Whether the local addresses are those of the uplinks, and follow them.
    #[must_use]
    pub const fn is_following(&self) -> bool {
        self.flags & FOLLOWS != 0
    }

    /// The pair that cuts up what goes to VTEPs with UDP checksums.
    #[must_use]
    pub fn cutter(&self) -> Option<Cutter> {
        let [entrance, exit] = self.cutter.map(IfIndex::new);
        Some(Cutter { entrance: entrance?, exit: exit? })
    }

    /// The entrance of that pair.
    #[inline(always)]
    #[must_use]
    pub const fn cutter_entrance(&self) -> Option<IfIndex> {
        IfIndex::new(self.cutter[0])
    }

    /// Whether tunnel packets shall be merged.
    #[must_use]
    pub const fn merging(&self) -> Merging {
        match (self.flags & MERGES_ALWAYS != 0, self.flags & MERGES_NEVER != 0) {
            (true, _) => Merging::Always,
            (_, true) => Merging::Never,
            _ => Merging::Auto,
        }
    }

    /// The device of ours that has the kernel listen for tunnel packets of a family.
    #[inline(always)]
    #[must_use]
    pub const fn listener(&self, family: Family) -> Option<IfIndex> {
        IfIndex::new(self.listeners[Self::listener_index(family)])
    }

    /// Whether nobody else had the kernel listen for tunnel packets when somebody last looked.
    #[inline(always)]
    #[must_use]
    pub const fn listens_alone(&self) -> bool {
        self.flags & LISTENS_ALONE != 0
    }

    /// How TC programs are attached.
    #[must_use]
    pub const fn tc(&self) -> TcHook {
        if self.flags & CLSACT == 0 { TcHook::Tcx } else { TcHook::Clsact }
    }

    /// The layout the maps were made with; compare with [`SCHEMA`].
    #[must_use]
    pub const fn schema(&self) -> u32 {
        self.schema
    }

    /// The kernel's cookie of the network namespace (`SO_NETNS_COOKIE`), unique until reboot.
    #[must_use]
    pub const fn netns_cookie(&self) -> u64 {
        self.netns_cookie
    }

    /// What the XDP program signs its verdicts with, so that nobody else's metadata is taken for them.
    #[inline(always)]
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.mark
    }

    /// The UDP port of the VTEP, host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The addresses of the local VTEP.
    #[must_use]
    pub fn locals(&self) -> &[UnderlayAddr] {
        &self.locals[..usize::from(self.local_count).min(MAX_LOCALS)]
    }

    /// Whether `addr` is an address of the local VTEP.
    #[inline(always)]
    #[must_use]
    pub fn is_local(&self, addr: UnderlayAddr) -> bool {
        let mut index = 0;
        while index < MAX_LOCALS {
            if index < self.local_count as usize && self.locals[index] == addr {
                return true;
            }
            index += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locals() {
        let one = UnderlayAddr::from_ipv4([10, 0, 0, 1]);
        let two = UnderlayAddr::from_ipv4([10, 0, 0, 2]);
        let config = Config::new(1, 2, &[one], 4789).unwrap();
        assert_eq!(config.locals(), [one]);
        assert!(config.is_local(one));
        assert!(!config.is_local(two));
        assert!(!config.is_local(UnderlayAddr::default()));
        assert_eq!(Config::new(1, 2, &[], 4789), None);
        assert_eq!(Config::new(1, 2, &[one; MAX_LOCALS + 1], 4789), None);
    }

    #[test]
    fn cutter() {
        let pair = Cutter { entrance: IfIndex::new(7).unwrap(), exit: IfIndex::new(6).unwrap() };
        let config = Config::default().with_cutter(Some(pair));
        assert_eq!((config.cutter(), config.cutter_entrance()), (Some(pair), Some(pair.entrance)));
        assert_eq!(config.with_cutter(None), Config::default());
    }

    #[test]
    fn merging() {
        for choice in [Merging::Auto, Merging::Always, Merging::Never] {
            assert_eq!(Config::default().with_merging(Merging::Never).with_merging(choice).merging(), choice);
        }
        let device = IfIndex::new(9);
        let config = Config::default().with_listener(Family::Ipv6, device).with_listening_alone(true);
        assert_eq!((config.listener(Family::Ipv4), config.listener(Family::Ipv6)), (None, device));
        assert!(config.listens_alone());
        let cleared = config.with_listener(Family::Ipv6, None).with_listening_alone(false);
        assert_eq!(cleared, Config::default());
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<Config>(), 40 + 16 * MAX_LOCALS);
    }
}
