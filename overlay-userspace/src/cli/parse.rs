//! Arguments that several commands take.

use clap::{Args, ValueEnum};
use overlay_common::{MacAddr, header::tcp::MIN_MSS, maps::segment::ClampMss};

use crate::{
    error::{Error, Result},
    mtu::SMALLEST,
};

/// A setting that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// Do
    On,
    /// Don't
    Off,
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        matches!(switch, Switch::On)
    }
}

/// What a command that adds something takes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ExistOk {
    /// Succeed if it is there already, and leave it as it is
    #[arg(long)]
    exist_ok: bool,
}

impl ExistOk {
    pub(super) fn apply(self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Exists(_)) if self.exist_ok => Ok(()),
            result => result,
        }
    }
}

/// What a command that removes something takes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct MissingOk {
    /// Succeed if it is not there
    #[arg(long)]
    missing_ok: bool,
}

impl MissingOk {
    pub(super) fn apply(self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Missing(_)) if self.missing_ok => Ok(()),
            result => result,
        }
    }
}

/// The MAC address of a station.
pub(super) fn station(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|error: overlay_common::ParseMacError| error.to_string())?;
    if mac.is_station() {
        Ok(mac)
    } else {
        Err("a group address or zero, which no station can have".to_owned())
    }
}

/// The MTU of a segment; none: what its paths carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mtu(pub(super) Option<u16>);

/// An MTU, or `auto`.
pub(super) fn mtu(text: &str) -> Result<Mtu, String> {
    match text.parse() {
        _ if text == "auto" => Ok(Mtu(None)),
        Ok(mtu @ SMALLEST..) => Ok(Mtu(Some(mtu))),
        _ => Err(format!("name {SMALLEST} to {} bytes, or auto", u16::MAX)),
    }
}

/// What the MSS of handshakes is lowered to: `on`, `off`, or a number.
pub(super) fn clamp_mss(text: &str) -> Result<ClampMss, String> {
    match (text, text.parse()) {
        ("on", _) => Ok(ClampMss::ToPath),
        ("off", _) => Ok(ClampMss::Off),
        (_, Ok(mss @ MIN_MSS..)) => Ok(ClampMss::To(mss)),
        _ => Err(format!("name on, off, or {MIN_MSS} to {} bytes", u16::MAX)),
    }
}

/// An error message of clap as one line: without its label, its usage lines and its pointer to the help.
pub(super) fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let paragraphs = message.split("\n\n").filter(|paragraph| {
        let start = paragraph.trim_start();
        !start.starts_with("Usage:") && !start.starts_with("For more information")
    });
    let words: Vec<&str> = paragraphs.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_errors_become_one_line() {
        let message = "error: the following required arguments were not provided:\n  --vni <VNI>\n\nUsage: overlay port add\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(message), "the following required arguments were not provided: --vni <VNI>");
    }

    #[test]
    fn sizes() {
        assert_eq!(
            (mtu("auto"), mtu("68"), mtu("65535")),
            (Ok(Mtu(None)), Ok(Mtu(Some(68))), Ok(Mtu(Some(65535))))
        );
        assert!(["67", "0", "65536", "-1", "on", ""].into_iter().all(|text| mtu(text).is_err()));
        assert_eq!((clamp_mss("on"), clamp_mss("off")), (Ok(ClampMss::ToPath), Ok(ClampMss::Off)));
        assert_eq!(clamp_mss("1360"), Ok(ClampMss::To(1360)));
        assert!(["87", "65536", "auto", ""].into_iter().all(|text| clamp_mss(text).is_err()));
    }

    #[test]
    fn stations() {
        assert!(station("02:00:00:00:00:01").is_ok());
        assert!(station("01:00:5e:00:00:01").is_err());
        assert!(station("00:00:00:00:00:00").is_err());
        assert!(station("host").is_err());
    }
}
