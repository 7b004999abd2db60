//! What `overlay vni` says and takes about outer headers.

use clap::{Args, ValueEnum};
use overlay_common::header::{
    policy::{self, Policy},
    source_ports::SourcePorts,
};
use serde::{Serialize, Serializer};

use super::parse::Switch;
use crate::headers::Change;

#[derive(Clone, Copy, Debug, Default, Args, PartialEq, Eq)]
pub(super) struct Headers {
    /// TTL or hop limit of outer headers: 1 to 255, or that of the inner header [default: 64]
    #[arg(long, value_name = "N|inherit", value_parser = ttl)]
    ttl: Option<policy::Field>,
    /// DSCP of outer headers: 0 to 63, or that of the inner header [default: 0]
    #[arg(long, value_name = "N|inherit", value_parser = dscp)]
    dscp: Option<policy::Field>,
    /// Don't-fragment bit of outer IPv4 headers; we do not fragment either way [default: set]
    #[arg(long, value_enum)]
    df: Option<DontFragment>,
    /// UDP source ports, of which each flow gets one [default: 49152-65535]
    #[arg(long, value_name = "FIRST-LAST", value_parser = source_ports)]
    source_ports: Option<SourcePorts>,
    /// What becomes of packets with reserved bits in their VXLAN header [default: ignore]
    #[arg(long, value_enum)]
    reserved: Option<Reserved>,
    /// Carry the packet mark in the VXLAN header, as the kernel's vxlan does with `gbp` [default: off]
    #[arg(long, value_enum)]
    gbp: Option<Switch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum DontFragment {
    /// Set
    Set,
    /// Clear
    Unset,
    /// As in the inner IPv4 header; set for IPv6, clear for what is not IP
    Inherit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reserved {
    /// Accepted, whatever they are (RFC 7348, section 5)
    Ignore,
    /// Dropped, as the kernel's vxlan does
    Drop,
}

impl From<Headers> for Change {
    fn from(headers: Headers) -> Self {
        Self {
            ttl: headers.ttl,
            dscp: headers.dscp,
            dont_fragment: headers.df.map(|df| match df {
                DontFragment::Set => policy::DontFragment::Set,
                DontFragment::Unset => policy::DontFragment::Unset,
                DontFragment::Inherit => policy::DontFragment::Inherit,
            }),
            source_ports: headers.source_ports,
            refuse_reserved: headers.reserved.map(|reserved| reserved == Reserved::Drop),
            gbp: headers.gbp.map(bool::from),
        }
    }
}

fn ttl(text: &str) -> Result<policy::Field, String> {
    field(text, 1, 255)
}

fn dscp(text: &str) -> Result<policy::Field, String> {
    field(text, 0, 63)
}

fn field(text: &str, least: u8, most: u8) -> Result<policy::Field, String> {
    if text == "inherit" {
        return Ok(policy::Field::Inherit);
    }
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(policy::Field::Fixed(number)),
        _ => Err(format!("name a number from {least} to {most}, or `inherit`")),
    }
}

fn source_ports(text: &str) -> Result<SourcePorts, String> {
    let parsed =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let (first, last): (u16, u16) = parsed.ok_or("name two ports, as in 49152-65535")?;
    if first == 0 {
        return Err("0 is no port; begin with 1 or more".to_owned());
    }
    SourcePorts::new(first, last)
        .ok_or_else(|| format!("{first} is more than {last}; name the lower port first"))
}

/// What `vni show` says about them.
#[derive(Serialize)]
pub(super) struct Shown {
    ttl: Field,
    dscp: Field,
    df: DontFragment,
    source_ports: String,
    reserved: Reserved,
    gbp: bool,
}

/// A number, or the word `inherit`.
struct Field(policy::Field);

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            policy::Field::Fixed(number) => serializer.serialize_u8(number),
            policy::Field::Inherit => serializer.serialize_str("inherit"),
        }
    }
}

impl From<&Policy> for Shown {
    fn from(policy: &Policy) -> Self {
        Self {
            ttl: Field(policy.ttl()),
            dscp: Field(policy.dscp()),
            df: match policy.dont_fragment() {
                policy::DontFragment::Set => DontFragment::Set,
                policy::DontFragment::Unset => DontFragment::Unset,
                policy::DontFragment::Inherit => DontFragment::Inherit,
            },
            source_ports: policy.source_ports().to_string(),
            reserved: if policy.refuses_reserved() { Reserved::Drop } else { Reserved::Ignore },
            gbp: policy.gbp(),
        }
    }
}

impl Shown {
    /// What is not as it is by default, in the words of the command line.
    pub(super) fn particulars(&self) -> String {
        let name = |field: &Field| match field.0 {
            policy::Field::Fixed(number) => number.to_string(),
            policy::Field::Inherit => "inherit".to_owned(),
        };
        let default = Policy::default();
        let mut words = Vec::new();
        if self.ttl.0 != default.ttl() {
            words.push(format!("ttl={}", name(&self.ttl)));
        }
        if self.dscp.0 != default.dscp() {
            words.push(format!("dscp={}", name(&self.dscp)));
        }
        match self.df {
            DontFragment::Set => {}
            DontFragment::Unset => words.push("df=unset".to_owned()),
            DontFragment::Inherit => words.push("df=inherit".to_owned()),
        }
        if self.source_ports != default.source_ports().to_string() {
            words.push(format!("source-ports={}", self.source_ports));
        }
        if self.reserved == Reserved::Drop {
            words.push("reserved=drop".to_owned());
        }
        if self.gbp {
            words.push("gbp=on".to_owned());
        }
        if words.is_empty() { "-".to_owned() } else { words.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_bounds() {
        assert_eq!(ttl("1"), Ok(policy::Field::Fixed(1)));
        assert_eq!(ttl("inherit"), Ok(policy::Field::Inherit));
        assert!(ttl("0").is_err() && ttl("256").is_err() && ttl("-1").is_err() && ttl("Inherit").is_err());
        assert_eq!(dscp("63"), Ok(policy::Field::Fixed(63)));
        assert!(dscp("64").is_err() && dscp("").is_err());
    }

    #[test]
    fn ranges_have_two_ends() {
        assert_eq!(source_ports("1-1").map(|ports| (ports.first(), ports.last())), Ok((1, 1)));
        for wrong in ["0-1", "2-1", "1", "1-", "-1", "1-65536", "1-2-3", "a-b", ""] {
            assert!(source_ports(wrong).is_err(), "{wrong}");
        }
    }
}
