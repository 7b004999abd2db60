//! An explanation, for people and for programs.

use std::{fmt, net::IpAddr};

use overlay_common::DropReason;
use serde::Serialize;

use super::{
    headers::{Header, dump},
    line::Line,
};

/// What would become of a frame, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The program that takes it.
    pub program: &'static str,
    /// The device that receives it.
    pub device: String,
    /// Its bytes.
    pub length: usize,
    /// What the programs do with it, in order.
    pub steps: Vec<Line>,
    /// What becomes of it in the end.
    pub verdict: Verdict,
    /// Why it is dropped, or was before it was answered.
    pub reason: Option<Reason>,
    /// Where the frame itself goes.
    pub to: Option<Target>,
    /// Copies that are sent of it, before the frame itself.
    pub copies: Vec<Copy>,
    /// What the frame has become; none where it is dropped, or only copies are sent.
    pub packet: Option<Packet>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is sent.
    Redirected,
    /// Only copies of it are sent.
    Copied,
    /// It is dropped.
    Dropped,
    /// It is not ours, and passes as it is.
    Passed,
}

/// Why a frame is dropped.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// As `overlay stats --drops` has it.
    pub name: &'static str,
    /// What that means, and what to do.
    pub advice: &'static str,
}

/// Where a frame goes.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// The device.
    pub device: String,
    /// `sent`, `peer`: straight to the device's peer, or `neighbour`: once the kernel has resolved its neighbour.
    pub how: &'static str,
}

/// A copy.
#[derive(Clone, Debug, Serialize)]
pub struct Copy {
    /// The device that it is sent by.
    pub device: String,
    /// Its bytes.
    pub length: u32,
    /// The remote VTEP that it is for; none: the workload behind the device.
    pub remote: Option<IpAddr>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// A packet as it leaves.
#[derive(Clone, Debug, Serialize)]
pub struct Packet {
    /// Its bytes.
    pub length: usize,
    /// Those of the outer IP packet, if it is a tunnel packet.
    pub ip_length: Option<usize>,
    /// The largest that the path carries, in bytes, where that is known.
    pub path_mtu: Option<u16>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its bytes in hexadecimal digits.
    pub bytes: String,
}

/// Bytes of a packet that are shown to people.
const SHOWN: usize = 128;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}: {} bytes", self.program, self.device, self.length)?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        writeln!(f, "{}", self.summary())?;
        if let Some(packet) = &self.packet {
            packet.fmt(f)?;
        }
        Ok(())
    }
}

impl Explanation {
    /// What becomes of the frame, in a line.
    fn summary(&self) -> String {
        let copies = match self.copies.len() {
            0 => String::new(),
            1 => "1 copy, and ".to_owned(),
            count => format!("{count} copies, and "),
        };
        let because = self.reason.as_ref().map(|reason| format!("{}: {}", reason.name, reason.advice));
        match (self.verdict, &self.to) {
            (Verdict::Passed, _) => match self.steps.last() {
                Some(Line::Left { because }) => format!("passed to the kernel as it is: {because}"),
                _ => "passed: it is not for this instance, and goes on as it is".to_owned(),
            },
            (Verdict::Redirected, Some(to)) if self.is_answer() => {
                format!("dropped and answered by {}: {}", to.device, because.unwrap_or_default())
            }
            (Verdict::Redirected, Some(to)) => {
                let to = match to.how {
                    "peer" => format!("straight to the peer of {}", to.device),
                    "neighbour" => format!("by {}, once its next hop is resolved", to.device),
                    _ => format!("by {}", to.device),
                };
                format!("sent: {copies}itself {to}")
            }
            (Verdict::Redirected, None) => "sent".to_owned(),
            (Verdict::Copied, _) => match self.copies.len() {
                0 => "nothing sent: nobody has to have it".to_owned(),
                1 => "sent: 1 copy".to_owned(),
                count => format!("sent: {count} copies"),
            },
            (Verdict::Dropped, _) => format!("dropped: {}", because.unwrap_or_default()),
        }
    }

    /// Whether what is sent is not the frame, but says why that is not.
    fn is_answer(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.name == DropReason::TooBig.name())
            && self.copies.is_empty()
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet: {} bytes", self.length)?;
        match (self.ip_length, self.path_mtu) {
            (Some(len), Some(mtu)) => {
                writeln!(f, "; its outer IP packet has {len} of {mtu} that the path carries")?;
            }
            (Some(len), None) => writeln!(f, "; its outer IP packet has {len}")?,
            (None, _) => writeln!(f)?,
        }
        for Header { name, fields, .. } in &self.headers {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
            writeln!(f, "  {name:<14} {}", fields.join(", "))?;
        }
        let bytes: Vec<u8> = super::hex(&self.bytes).unwrap_or_default();
        for line in dump(&bytes[..bytes.len().min(SHOWN)]) {
            writeln!(f, "  {line}")?;
        }
        match bytes.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} bytes more"),
        }
    }
}
