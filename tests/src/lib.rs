//! The harness of the integration tests: hosts in network namespaces, an underlay between them,
//! workloads behind them, raw frames, traffic, and the `overlay` command line.
//!
//! Everything here needs root, and fails without it: a test that is skipped proves nothing.
#![expect(
    clippy::missing_errors_doc,
    reason = "an error of the harness is a failed test; its text is the documentation"
)]

/// Makes tests of functions that are generic over the outer IP header: one over IPv4, one over IPv6.
#[macro_export]
macro_rules! over_both_families {
    ($($test:ident),+ $(,)?) => {
        mod over_ipv4 {
            $(#[test]
            fn $test() -> anyhow::Result<()> {
                super::$test::<$crate::frame::Ipv4>()
            })+
        }

        mod over_ipv6 {
            $(#[test]
            fn $test() -> anyhow::Result<()> {
                super::$test::<$crate::frame::Ipv6>()
            })+
        }
    };
}

pub mod adopting;
pub mod agent;
pub mod bench;
pub mod copy;
pub mod cutter;
pub mod declared;
pub mod dialogue;
pub mod doctor;
mod drops;
pub mod explain;
pub mod fdb;
pub mod figures;
pub mod flow;
pub mod foreign;
pub mod frame;
pub mod group;
pub mod handshake;
pub mod kernel;
pub mod listening;
pub mod machine;
pub mod maps;
pub mod mending;
pub mod mesh;
pub mod metrics;
pub mod neigh;
pub mod netns;
pub mod objects;
pub mod overlay;
pub mod pace;
pub mod package;
pub mod peer;
pub mod process;
pub mod refusal;
pub mod replug;
pub mod routed;
pub mod stream;
pub mod tags;
pub mod tap;
pub mod terminal;
pub mod testrun;
pub mod too_big;
pub mod topology;
pub mod traffic;
pub mod transit;
pub mod trunk;
pub mod wire;
