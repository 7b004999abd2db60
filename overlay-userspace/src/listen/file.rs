//! A capture file: pcapng (draft-ietf-opsawg-pcapng), of which Wireshark and tshark show the comment of each packet.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

/// Times are nanoseconds: `10^-9`.
const NANOSECONDS: u8 = 9;

/// A file being written.
pub struct CaptureFile<W: Write> {
    writer: PcapNgWriter<W>,
    devices: Vec<String>,
    bytes: u32,
}

impl<W: Write> CaptureFile<W> {
    /// Begins a file of packets with so many bytes at most, by those devices and others.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn begin(writer: W, bytes: u32, devices: &[String]) -> std::io::Result<Self> {
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(
                concat!("overlay ", env!("CARGO_PKG_VERSION")).into(),
            )],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(writer, section).map_err(cause)?;
        let mut file = Self { writer, devices: Vec::new(), bytes };
        for device in devices {
            file.interface(device)?;
        }
        Ok(file)
    }

    /// Writes a packet of a device, of which `packet` is what there is, and what became of it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn write(
        &mut self,
        device: &str,
        time: SystemTime,
        (packet, len): (&[u8], u32),
        comment: &str,
    ) -> std::io::Result<()> {
        let block = EnhancedPacketBlock {
            interface_id: self.interface(device)?,
            timestamp: time.duration_since(UNIX_EPOCH).unwrap_or_default(),
            original_len: len,
            data: packet.into(),
            options: vec![EnhancedPacketOption::Comment(comment.into())],
        };
        self.writer.write_pcapng_block(block).map(drop).map_err(cause)
    }

    /// Has all reach its reader.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// The number of a device in the file; a new one is described first.
    fn interface(&mut self, device: &str) -> std::io::Result<u32> {
        let known = self.devices.iter().position(|known| known == device);
        let at = if let Some(at) = known {
            at
        } else {
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: self.bytes,
                options: vec![
                    InterfaceDescriptionOption::IfName(device.into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(cause)?;
            self.devices.push(device.to_owned());
            self.devices.len() - 1
        };
        u32::try_from(at).map_err(std::io::Error::other)
    }
}

fn cause(error: PcapError) -> std::io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => std::io::Error::other(other),
    }
}
