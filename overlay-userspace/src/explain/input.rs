//! Frames to explain, out of capture files and hexadecimal digits.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Seek as _},
    str::FromStr,
};

use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};

use crate::error::{Context as _, Error, Result};

/// A packet of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Path of the file, pcap or pcapng.
    pub path: String,
    /// Which of its packets, from 1.
    pub number: usize,
}

impl FromStr for Captured {
    type Err = String;

    /// Reads `FILE[:N]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, number) = match text.rsplit_once(':') {
            Some((path, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                (path, digits.parse().map_err(|_| format!("{digits} is too large a number of a packet"))?)
            }
            _ => (text, 1),
        };
        if number == 0 {
            return Err("packets are numbered from 1".to_owned());
        }
        Ok(Self { path: path.to_owned(), number })
    }
}

/// A packet as a file has it.
struct Packet {
    bytes: Vec<u8>,
    /// How long it was on the wire.
    len: u32,
    is_ethernet: bool,
}

/// How many packets there were in front of the end of a file, if it is not the one that is looked for.
enum Found {
    Packet(Packet),
    Only(usize),
}

/// The first bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Captured {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is no capture or cut off, has fewer packets, or not all of this one's bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        let Self { path, number } = self;
        let mut file = File::open(path).context(|| format!("cannot open {path}"))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => no_capture(path),
            _ => Error::failed(format!("cannot read {path}"), error),
        })?;
        file.rewind().context(|| format!("cannot read {path}"))?;
        let found = if magic == PCAPNG { self.find_in_pcapng(file) } else { self.find_in_pcap(file) };
        let Packet { bytes, len, is_ethernet } = match found? {
            Found::Packet(packet) => packet,
            Found::Only(0) => return Err(Error::Failed(format!("{path} has no packets"))),
            Found::Only(count) => {
                return Err(Error::Failed(format!(
                    "{path} has no packet {number}; its packets are 1 to {count}"
                )));
            }
        };
        if !is_ethernet {
            return Err(Error::Failed(format!(
                "packet {number} of {path} is no Ethernet frame; capture on one device, not on `any`"
            )));
        }
        if bytes.len() < len as usize {
            return Err(Error::Failed(format!(
                "of packet {number} of {path} only {} of {len} bytes were kept; capture whole packets (tcpdump -s 0)",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    fn find_in_pcap(&self, file: File) -> Result<Found> {
        let mut reader = PcapReader::new(file).map_err(|_| no_capture(&self.path))?;
        let is_ethernet = reader.header().datalink == DataLink::ETHERNET;
        let mut count = 0;
        while let Some(packet) = reader.next_raw_packet() {
            let packet = packet.map_err(|error| self.unreadable(count, &error))?;
            count += 1;
            if count == self.number {
                let bytes = packet.data.into_owned();
                return Ok(Found::Packet(Packet { bytes, len: packet.orig_len, is_ethernet }));
            }
        }
        Ok(Found::Only(count))
    }

    fn find_in_pcapng(&self, file: File) -> Result<Found> {
        let mut reader = PcapNgReader::new(file).map_err(|_| no_capture(&self.path))?;
        let mut count = 0;
        loop {
            let (bytes, len, device) = match reader.next_block() {
                None => return Ok(Found::Only(count)),
                Some(Err(error)) => return Err(self.unreadable(count, &error)),
                Some(Ok(Block::EnhancedPacket(packet))) => {
                    (packet.data.into_owned(), packet.original_len, packet.interface_id as usize)
                }
                Some(Ok(Block::SimplePacket(packet))) => (packet.data.into_owned(), packet.original_len, 0),
                Some(Ok(Block::Packet(packet))) => {
                    (packet.data.into_owned(), packet.original_len, packet.interface_id.into())
                }
                Some(Ok(_)) => continue,
            };
            count += 1;
            if count == self.number {
                let link = reader.interfaces().get(device).map(|device| device.linktype);
                let is_ethernet = link == Some(DataLink::ETHERNET);
                return Ok(Found::Packet(Packet { bytes, len, is_ethernet }));
            }
        }
    }

    /// What is wrong behind so many packets.
    fn unreadable(&self, count: usize, error: &PcapError) -> Error {
        let path = &self.path;
        match error {
            PcapError::IncompleteBuffer => cut_off(path, count),
            PcapError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => cut_off(path, count),
            error => Error::failed(format!("cannot read {path} behind packet {count}"), error),
        }
    }
}

fn no_capture(path: &str) -> Error {
    Error::Failed(format!("{path} is no capture file; `tcpdump -w` writes such"))
}

fn cut_off(path: &str, count: usize) -> Error {
    Error::Failed(format!("{path} is cut off behind packet {count}; name that one or one before"))
}

/// The bytes that hexadecimal digits stand for; blanks, `:` and `-` between bytes do not count.
///
/// # Errors
///
/// Says what is wrong with them.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !b" \t\n:-".contains(byte)).collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err("name two hexadecimal digits for each byte".to_owned());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(byte).collect();
    bytes.ok_or_else(|| "a byte has two hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use proptest::prelude::*;

    use super::*;

    /// A pcap file with two packets.
    fn pcap() -> Vec<u8> {
        let mut bytes = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x40000, 1].map(u32::to_le_bytes).concat();
        for len in [60_u8, 33] {
            bytes.extend([0, 0, u32::from(len), u32::from(len)].map(u32::to_le_bytes).concat());
            bytes.extend(vec![len; len.into()]);
        }
        bytes
    }

    /// The same as pcapng.
    fn pcapng() -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
            [&kind.to_le_bytes()[..], &len, body, &len].concat()
        };
        let mut bytes = block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat());
        bytes.extend(block(1, &[1, 0, 0, 0, 0, 0, 4, 0]));
        for len in [60_u8, 33] {
            let mut body = [0, 0, 0, u32::from(len), u32::from(len)].map(u32::to_le_bytes).concat();
            body.extend(vec![len; len.into()]);
            body.resize(body.len().next_multiple_of(4), 0);
            bytes.extend(block(6, &body));
        }
        bytes
    }

    fn read(bytes: &[u8], number: usize) -> Result<Vec<u8>> {
        let path = env::temp_dir().join(format!(
            "overlay-captured-{}-{:?}",
            process::id(),
            std::thread::current().id()
        ));
        fs::write(&path, bytes).unwrap();
        let captured = Captured { path: path.display().to_string(), number };
        let read = captured.read();
        fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn both_formats_are_read() {
        for file in [pcap(), pcapng()] {
            assert_eq!(read(&file, 1).unwrap(), vec![60; 60]);
            assert_eq!(read(&file, 2).unwrap(), vec![33; 33]);
            assert!(read(&file, 3).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever a file holds, reading it ends with a packet or with a word.
        #[test]
        fn no_file_makes_it_panic(
            is_ng: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<prop::sample::Index>(),
            number in 1..4_usize,
        ) {
            let mut bytes = if is_ng { pcapng() } else { pcap() };
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = read(&bytes, number);
        }
    }

    #[test]
    fn packets_have_numbers() {
        let captured = |path: &str, number| Ok(Captured { path: path.to_owned(), number });
        assert_eq!("a.pcap".parse(), captured("a.pcap", 1));
        assert_eq!("a.pcap:17".parse(), captured("a.pcap", 17));
        assert_eq!("a:b".parse(), captured("a:b", 1));
        assert_eq!("a:2:3".parse(), captured("a:2", 3));
        assert_eq!("a:".parse(), captured("a:", 1));
        assert!("a:0".parse::<Captured>().is_err());
        assert!("a:99999999999999999999999".parse::<Captured>().is_err());
    }

    #[test]
    fn digits() {
        assert_eq!(hex("0a0B ff\n00"), Ok(vec![10, 11, 255, 0]));
        assert_eq!(hex("02:00-01"), Ok(vec![2, 0, 1]));
        for text in ["", "0", "0x", "gg", "1234567", "äö"] {
            assert!(hex(text).is_err(), "{text}");
        }
    }
}
