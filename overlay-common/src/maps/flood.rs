//! `FLOOD`: who gets a copy of broadcast, unknown unicast and multicast.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{Family, IfIndex, Vni, VtepId};

/// The map's name: a hash of VNI (`u32`) to [`FloodList`].
pub const NAME: &str = "FLOOD";

/// Ports a segment can have on one host.
pub const MAX_PORTS: usize = 256;

/// Remote VTEPs a segment can have.
pub const MAX_VTEPS: usize = 1024;

/// The receivers of a segment. It is replaced as a whole, so that a frame meets the old list or the new one.
///
/// The kernel may give the memory of a replaced list to another segment while a program still walks it. So a list
/// names its segment, and each receiver is read together with that name.
///
/// Remote VTEPs over IPv4 come first: their outer headers are shorter, and a frame can only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FloodList {
    vni: u32,
    port_count: u32,
    vtep_count: u32,
    ipv4_count: u32,
    ports: [u32; MAX_PORTS],
    vteps: [u16; MAX_VTEPS],
}

map_data!(FloodList);

/// The list holds as many receivers as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl FloodList {
    /// Nobody yet in segment `vni`.
    #[must_use]
    pub fn new(vni: Vni) -> Self {
        Self { vni: vni.get(), ..Self::zeroed() }
    }

    /// Whether this is (still) the list of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(&self, vni: Vni) -> bool {
        self.vni == vni.get()
    }

    /// How many ports there are.
    #[inline(always)]
    #[must_use]
    pub const fn port_count(&self) -> u32 {
        self.port_count
    }

    /// How many remote VTEPs there are.
    #[inline(always)]
    #[must_use]
    pub const fn vtep_count(&self) -> u32 {
        self.vtep_count
    }

    /// How many of the remote VTEPs are reached over IPv4; they come first.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4_count(&self) -> u32 {
        self.ipv4_count
    }

    /// The port at a place below [`Self::port_count`].
    #[inline(always)]
    #[must_use]
    pub fn port(&self, at: usize) -> Option<IfIndex> {
        self.ports.get(at).copied().and_then(IfIndex::new)
    }

    /// The remote VTEP at a place below [`Self::vtep_count`].
    #[inline(always)]
    #[must_use]
    pub fn vtep(&self, at: usize) -> Option<VtepId> {
        self.vteps.get(at).copied().and_then(VtepId::new)
    }

    /// All ports.
    pub fn ports(&self) -> impl Iterator<Item = IfIndex> + '_ {
        (0..self.port_count as usize).filter_map(|at| self.port(at))
    }

    /// All remote VTEPs.
    pub fn vteps(&self) -> impl Iterator<Item = VtepId> + '_ {
        (0..self.vtep_count as usize).filter_map(|at| self.vtep(at))
    }

    /// Adds a port; one that is there stays there once.
    ///
    /// # Errors
    ///
    /// [`Full`] when the segment has [`MAX_PORTS`] ports.
    pub fn add_port(&mut self, port: IfIndex) -> Result<(), Full> {
        add(&mut self.ports, &mut self.port_count, port.get())
    }

    /// Removes a port, if it is there.
    pub fn remove_port(&mut self, port: IfIndex) {
        remove(&mut self.ports, &mut self.port_count, port.get());
    }

    /// Adds a remote VTEP; one that is there stays there once.
    ///
    /// # Errors
    ///
    /// [`Full`] when the segment has [`MAX_VTEPS`] remote VTEPs.
    pub fn add_vtep(&mut self, vtep: VtepId, family: Family) -> Result<(), Full> {
        let before = self.vtep_count;
        add(&mut self.vteps, &mut self.vtep_count, vtep.get())?;
        if family == Family::Ipv4 && self.vtep_count > before {
            self.vteps[self.ipv4_count as usize..=before as usize].rotate_right(1);
            self.ipv4_count += 1;
        }
        Ok(())
    }

    /// Removes a remote VTEP, if it is there.
    pub fn remove_vtep(&mut self, vtep: VtepId) {
        let Some(at) = self.vteps().position(|other| other == vtep) else { return };
        if at < self.ipv4_count as usize {
            self.ipv4_count -= 1;
        }
        remove(&mut self.vteps, &mut self.vtep_count, vtep.get());
    }
}

fn add<T: Copy + PartialEq>(list: &mut [T], count: &mut u32, item: T) -> Result<(), Full> {
    let used = *count as usize;
    if list[..used].contains(&item) {
        return Ok(());
    }
    *list.get_mut(used).ok_or(Full)? = item;
    *count += 1;
    Ok(())
}

fn remove<T: Copy + PartialEq + Default>(list: &mut [T], count: &mut u32, item: T) {
    let used = *count as usize;
    let Some(at) = list[..used].iter().position(|&other| other == item) else {
        return;
    };
    list.copy_within(at + 1..used, at);
    list[used - 1] = T::default();
    *count -= 1;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 1u32..20), 0..60)) {
            let mut list = FloodList::new(Vni::MAX);
            let mut set = BTreeSet::new();
            for (add, number) in steps {
                let port = IfIndex::new(number).unwrap();
                if add {
                    list.add_port(port).unwrap();
                    set.insert(port);
                } else {
                    list.remove_port(port);
                    set.remove(&port);
                }
                let mut ports: Vec<_> = list.ports().collect();
                ports.sort();
                prop_assert_eq!(ports, set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(list.port_count() as usize, set.len());
            }
        }
    }

    #[test]
    fn ipv4_comes_first() {
        let id = |number| VtepId::new(number).unwrap();
        let mut list = FloodList::new(Vni::MAX);
        for (number, family) in
            [(1, Family::Ipv6), (2, Family::Ipv4), (3, Family::Ipv6), (4, Family::Ipv4), (2, Family::Ipv4)]
        {
            list.add_vtep(id(number), family).unwrap();
        }
        assert_eq!(list.vteps().map(VtepId::get).collect::<Vec<_>>(), [2, 4, 1, 3]);
        assert_eq!((list.vtep_count(), list.ipv4_count()), (4, 2));
        list.remove_vtep(id(2));
        list.remove_vtep(id(3));
        assert_eq!(list.vteps().map(VtepId::get).collect::<Vec<_>>(), [4, 1]);
        assert_eq!((list.vtep_count(), list.ipv4_count()), (2, 1));
    }

    #[test]
    fn full() {
        let mut list = FloodList::new(Vni::MAX);
        for id in 1..=MAX_VTEPS {
            list.add_vtep(VtepId::new(id as u16).unwrap(), Family::Ipv6).unwrap();
        }
        assert_eq!(list.add_vtep(VtepId::new(2000).unwrap(), Family::Ipv4), Err(Full));
        assert_eq!(list.add_vtep(VtepId::FIRST, Family::Ipv6), Ok(()));
        list.remove_vtep(VtepId::FIRST);
        assert_eq!(list.vtep(0), VtepId::new(2));
        assert_eq!(list.vteps().count(), MAX_VTEPS - 1);
    }
}
