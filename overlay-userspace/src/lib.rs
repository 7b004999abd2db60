//! The loader and command line.
