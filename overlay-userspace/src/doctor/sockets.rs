//! Who listens on UDP ports of this network namespace.

use std::{fs, path::Path};

use overlay_common::Family;

/// A socket that a process has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) family: Family,
    pub(super) port: u16,
    /// The number of its file.
    inode: u64,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: i32,
    pub(super) name: String,
}

/// The sockets of processes that listen on a UDP port, each with its owner. Those that belong to the kernel, as the sockets of
/// `vxlan` devices do, are among nobody's files.
pub(super) fn on(port: u16) -> Vec<(Socket, Owner)> {
    let owned = |socket: Socket| socket.owner().map(|owner| (socket, owner));
    listening().into_iter().filter(|socket| socket.port == port).filter_map(owned).collect()
}

/// The UDP sockets that anybody can send to.
fn listening() -> Vec<Socket> {
    let all = [("udp", Family::Ipv4), ("udp6", Family::Ipv6)];
    let read = |(file, family): (&str, Family)| {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(file)).unwrap_or_default();
        parse(&text, family)
    };
    all.into_iter().flat_map(read).collect()
}

/// The lines of `/proc/net/udp` and `udp6` (`udp4_format_sock` in `net/ipv4/udp.c`).
fn parse(text: &str, family: Family) -> Vec<Socket> {
    let socket = |line: &str| {
        let mut fields = line.split_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let (_, remote) = fields.next()?.rsplit_once(':')?;
        let inode = fields.nth(6)?.parse().ok()?;
        let is_open_to_all = u16::from_str_radix(remote, 16) == Ok(0);
        let port = u16::from_str_radix(port, 16).ok()?;
        is_open_to_all.then_some(Socket { family, port, inode })
    };
    text.lines().skip(1).filter_map(socket).collect()
}

impl Socket {
    /// Whose it is, if it is a process's that can be seen.
    fn owner(&self) -> Option<Owner> {
        let wanted = format!("socket:[{}]", self.inode);
        let processes = fs::read_dir("/proc").ok()?.flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: i32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
            let has = files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|target| target.as_os_str() == wanted.as_str());
            let name =
                || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
            has.then(|| Owner { pid, name: name() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_processes_that_anybody_can_send_to() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                    23: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17 2 0 0\n\
                    24: 0100007F:0035 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 18 2 0 0\n\
";
        assert_eq!(parse(text, Family::Ipv4), [Socket { family: Family::Ipv4, port: 4789, inode: 17 }]);
        assert_eq!(parse("", Family::Ipv6), []);
    }
}
