//! What is measured.

use std::fmt;

use serde::{Serialize, Serializer};

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Figure {
    /// TCP, one flow.
    Tcp1,
    /// The same per second of CPU.
    Tcp1Cpu,
    /// TCP, four flows.
    Tcp4,
    /// The same per second of CPU.
    Tcp4Cpu,
    /// UDP datagrams of 64 bytes, as fast as they arrive with a tolerable loss.
    Udp64,
    /// The same per second of CPU.
    Udp64Cpu,
    /// Requests that were answered, one at a time.
    Requests,
    /// How long half of them took at most.
    RequestsP50,
    /// How long 99 of 100 took at most.
    RequestsP99,
    /// Requests beside a bulk transfer.
    LoadedRequests,
    /// How long half of them took at most.
    LoadedRequestsP50,
    /// How long 99 of 100 took at most.
    LoadedRequestsP99,
    /// Connections that were made, used for one request, and closed.
    Connections,
    /// Tunnel packets that one CPU takes out of a NIC's hands and to the workload, by XDP.
    LiveFrames,
}

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
}

impl Figure {
    /// The name in output and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp1Cpu => "tcp1-cpu",
            Self::Tcp4 => "tcp4",
            Self::Tcp4Cpu => "tcp4-cpu",
            Self::Udp64 => "udp64",
            Self::Udp64Cpu => "udp64-cpu",
            Self::Requests => "rr",
            Self::RequestsP50 => "rr-p50",
            Self::RequestsP99 => "rr-p99",
            Self::LoadedRequests => "rr-load",
            Self::LoadedRequestsP50 => "rr-load-p50",
            Self::LoadedRequestsP99 => "rr-load-p99",
            Self::Connections => "crr",
            Self::LiveFrames => "xdp",
        }
    }

    /// The unit of its values. A second of CPU is one of any CPU of the machine, for any purpose.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Tcp1 | Self::Tcp4 => "Gbit/s",
            Self::Tcp1Cpu | Self::Tcp4Cpu => "Gbit/CPU-s",
            Self::Udp64 => "kpps",
            Self::Udp64Cpu => "kpackets/CPU-s",
            Self::LiveFrames => "Mpps",
            Self::Requests | Self::LoadedRequests | Self::Connections => "1/s",
            Self::RequestsP50 | Self::RequestsP99 | Self::LoadedRequestsP50 | Self::LoadedRequestsP99 => "µs",
        }
    }

    /// Which of two values is the better one.
    pub(crate) const fn better(self) -> Better {
        match self {
            Self::RequestsP50 | Self::RequestsP99 | Self::LoadedRequestsP50 | Self::LoadedRequestsP99 => {
                Better::Lower
            }
            _ => Better::Higher,
        }
    }

    /// What it is, for people.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Tcp1 | Self::Tcp1Cpu => "TCP, 1 flow",
            Self::Tcp4 | Self::Tcp4Cpu => "TCP, 4 flows",
            Self::Udp64 | Self::Udp64Cpu => "UDP, 64 B",
            Self::Requests => "requests",
            Self::RequestsP50 => "request p50",
            Self::RequestsP99 => "request p99",
            Self::LoadedRequests => "requests under load",
            Self::LoadedRequestsP50 => "p50 under load",
            Self::LoadedRequestsP99 => "p99 under load",
            Self::Connections => "connections",
            Self::LiveFrames => "XDP, 1 CPU",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
