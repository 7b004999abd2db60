//! Arguments that several commands take.

use std::{net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};
use overlay_common::{
    MacAddr, OverlayAddr,
    header::tcp::MIN_MSS,
    maps::{bum_rate::MAX_RATE, segment::ClampMss},
};

use crate::{
    error::{Error, Result},
    mtu::SMALLEST,
    traffic::{LONGEST, SHORTEST},
};

/// How often something is shown: seconds, as in `1` and `0.5`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let is_right = |every: &Duration| (SHORTEST..=LONGEST).contains(every);
    seconds.filter(is_right).ok_or_else(|| "seconds, from 0.1 to 3600".to_owned())
}

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
    pub(super) const fn is_asked(self) -> bool {
        self.exist_ok
    }

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
    pub(super) const fn is_asked(self) -> bool {
        self.missing_ok
    }

    pub(super) fn apply(self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Missing(_)) if self.missing_ok => Ok(()),
            result => result,
        }
    }
}

/// The MAC address of a station.
pub(crate) fn station(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|error: overlay_common::ParseMacError| error.to_string())?;
    if mac.is_station() {
        Ok(mac)
    } else {
        Err("a group address or zero, which no station can have".to_owned())
    }
}

/// An address of a host, and the length of its prefix in bits.
pub(crate) fn address(text: &str) -> Result<(IpAddr, u8), String> {
    let (addr, len) = text.split_once('/').ok_or("no length of a prefix; write it as in 10.1.0.1/24")?;
    let addr: IpAddr = addr.parse().map_err(|_| "no IPv4 or IPv6 address".to_owned())?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let len: u8 =
        len.parse().ok().filter(|len| *len <= most).ok_or(format!("a prefix has 0 to {most} bits"))?;
    if addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() {
        return Err("which a host cannot have in a segment".to_owned());
    }
    Ok((addr, len))
}

/// The IP address of a station.
pub(crate) fn overlay_address(text: &str) -> Result<OverlayAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "not an IP address; write it like 10.1.0.1 or fd01::1".to_owned())?;
    OverlayAddr::from_ip(address).ok_or_else(|| {
        let why = match address {
            IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() => {
                "an IPv4 address in IPv6; write it as IPv4"
            }
            _ => "an unspecified, loopback or group address, which no station can have",
        };
        why.to_owned()
    })
}

/// What becomes of a request that nobody here can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unknown {
    /// Everybody in the segment gets it
    Flood,
    /// Nobody does
    Drop,
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

/// Packets per second: a number, or one of thousands (`k`) or millions (`M`).
pub(super) fn rate(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|rate| *rate <= MAX_RATE)
        .ok_or_else(|| format!("not a number of packets per second up to {MAX_RATE}, such as 500, 20k or 1M"))
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
    fn addresses() {
        assert_eq!(address("10.1.0.1/24"), Ok(([10, 1, 0, 1].into(), 24)));
        assert!(address("fd01::1/64").is_ok());
        for bad in
            ["10.1.0.1", "10.1.0.1/33", "host/24", "224.0.0.1/24", "::/64", "127.0.0.1/8", "fd01::1/129"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
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
    fn rates() {
        let rates = [("0", 0), ("500", 500), ("20k", 20_000), ("1M", 1_000_000), ("100M", MAX_RATE)];
        for (text, number) in rates {
            assert_eq!(rate(text), Ok(number));
        }
        for text in ["", "k", "-1", "+1", "1.5k", "1G", "101M", "4295M", "1 k"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stations() {
        assert!(station("02:00:00:00:00:01").is_ok());
        assert!(station("01:00:5e:00:00:01").is_err());
        assert!(station("00:00:00:00:00:00").is_err());
        assert!(station("host").is_err());
    }

    #[test]
    fn overlay_addresses() {
        assert!(overlay_address("10.1.0.1").is_ok());
        assert!(overlay_address("fe80::1").is_ok());
        for text in ["10.1.0", "10.1.0.1/24", "224.0.0.1", "0.0.0.0", "ff02::1", "::", "::ffff:10.1.0.1"] {
            assert!(overlay_address(text).is_err(), "{text}");
        }
    }
}
