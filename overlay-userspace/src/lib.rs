//! Loader and command line of `overlay`: what fills the maps that the programs in `overlay-ebpf` forward by.
//!
//! The pinned maps are the only state. A command opens an [`instance::Instance`], which locks it, checks everything,
//! changes the maps, and is done; forwarding needs no process.
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody listens any more")]

pub mod adopt;
pub mod agent;
pub mod bpffs;
pub mod cli;
mod cutter;
pub mod datapath;
pub mod declared;
pub mod demo;
mod devices;
pub mod doctor;
pub mod down;
mod error;
pub mod explain;
pub mod fdb;
pub mod forwarding;
pub mod grace;
pub mod headers;
pub mod hook;
pub mod instance;
pub mod listen;
mod listener;
mod log;
pub mod logs;
pub mod maps;
pub mod mdb;
pub mod membership;
pub mod metrics;
pub mod mtu;
pub mod neigh;
pub mod netlink;
pub mod netns;
mod offload;
mod orphan;
pub mod port;
pub mod preflight;
mod progress;
pub mod repair;
mod say;
pub mod segment;
pub mod top;
pub mod traffic;
pub mod trunk;
pub mod tunnel;
mod undo;
pub mod up;
mod uplink;

pub use error::{Context, Error, Result};
