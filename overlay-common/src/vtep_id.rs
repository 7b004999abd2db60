use core::fmt;

/// The number of a remote VTEP: its index in the maps `VTEPS` and `NEXT_HOPS`. 0 stands for none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VtepId(u16);

impl VtepId {
    /// The smallest id.
    pub const FIRST: Self = Self(1);

    /// Takes a number; `None` for 0.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The index in maps.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for VtepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
