//! The harness of the integration tests: hosts in network namespaces, an underlay between them,
//! workloads behind them, raw frames, traffic, and the `overlay` command line.
//!
//! Everything here needs root, and fails without it: a test that is skipped proves nothing.
#![expect(
    clippy::missing_errors_doc,
    reason = "an error of the harness is a failed test; its text is the documentation"
)]

pub mod bench;
pub mod figures;
pub mod flow;
pub mod foreign;
pub mod frame;
pub mod mesh;
pub mod netns;
pub mod objects;
pub mod overlay;
pub mod peer;
pub mod process;
pub mod stream;
pub mod tap;
pub mod testrun;
pub mod topology;
pub mod traffic;
pub mod wire;
