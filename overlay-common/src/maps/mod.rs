//! Keys, values, names and sizes of the maps, one module each: the one place where they stand.
//!
//! All are plain data without hidden padding. Fields are private; constructors and accessors speak newtypes.

pub mod admitted;
pub mod adopted;
pub mod ageing;
pub mod answers;
pub mod bum_rate;
pub mod config;
pub mod counters;
pub mod departure;
pub mod device;
pub mod drops;
pub mod early;
pub mod event;
pub mod fdb;
pub mod flood;
pub mod flooding;
pub mod flow;
pub mod jump;
pub mod learned;
pub mod managed;
pub mod mdb;
pub mod member;
pub mod neighbour;
pub mod next_hop;
pub mod notices;
pub mod parked;
pub mod path_mtu;
pub mod port;
pub mod scratch;
pub mod segment;
pub mod swept;
pub mod tally;
pub mod uplink;
pub mod vlan;
pub mod vtep;
pub mod vtep_ids;

/// Implements `aya::Pod` for map keys and values; with [`bytemuck::Pod`] derived, they are plain data.
macro_rules! map_data {
    ($($type:ty),+) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `bytemuck::Pod`, required below, is the stronger promise.
        unsafe impl aya::Pod for $type {}

        const _: fn() = || {
            fn plain_data<T: bytemuck::Pod>() {}
            plain_data::<$type>();
        };
    )+};
}
pub(crate) use map_data;
