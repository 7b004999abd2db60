//! Nothing: the programs are the binary target. A library target lets `overlay-bench` name this crate as a
//! build dependency, so that cargo rebuilds it when the programs' dependencies change.
#![no_std]
