//! The capture file format as the store writes it: pcap with nanoseconds, and pcapng where link types are mixed.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. All numbers are written little-endian.

use std::io::{self, Write};

use crate::packet::LinkType;
use crate::time::Timestamp;

/// pcap with nanoseconds.
pub(super) const MAGIC: u32 = 0xA1B2_3C4D;
/// Bytes of the header of a file.
pub(super) const FILE_HEADER: u64 = 24;
/// Bytes of the header of a packet.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest packet that is taken for one when a file is read.
pub(super) const MAX_CAPLEN: u32 = 256 << 10;

/// The header of a file.
pub(super) fn file_header(linktype: LinkType) -> [u8; FILE_HEADER as usize] {
    let mut header = [0; FILE_HEADER as usize];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    header[16..20].copy_from_slice(&MAX_CAPLEN.to_le_bytes());
    header[20..24].copy_from_slice(&u32::from(linktype.0).to_le_bytes());
    header
}

/// The header of a packet. Seconds outside 1970 to 2106 cannot be written and become the nearest that can.
pub(super) fn record_header(time: Timestamp, caplen: u32, wirelen: u32) -> [u8; RECORD_HEADER] {
    let (secs, nanos) = match u32::try_from(time.secs()) {
        Ok(secs) => (secs, time.subsec_nanos()),
        Err(_) if time.secs() < 0 => (0, 0),
        Err(_) => (u32::MAX, 999_999_999),
    };
    let mut header = [0; RECORD_HEADER];
    header[0..4].copy_from_slice(&secs.to_le_bytes());
    header[4..8].copy_from_slice(&nanos.to_le_bytes());
    header[8..12].copy_from_slice(&caplen.to_le_bytes());
    header[12..16].copy_from_slice(&wirelen.to_le_bytes());
    header
}

/// What the header of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) caplen: u32,
    pub(super) wirelen: u32,
}

/// Reads the header of a packet; `None` if there is none, or it is no header the store writes.
pub(super) fn read_record(bytes: &[u8]) -> Option<Record> {
    let header: &[u8; RECORD_HEADER] = bytes.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (secs, nanos, caplen, wirelen) = (word(0), word(4), word(8), word(12));
    (nanos < 1_000_000_000 && caplen <= MAX_CAPLEN && caplen <= wirelen).then(|| Record {
        time: Timestamp::new(i64::from(secs), i64::from(nanos)),
        caplen,
        wirelen,
    })
}

/// Why a capture could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The output failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A pcap file has one link type.
    #[error(
        "packets have link types {first} and {other}, and a pcap file holds one; give the output a name ending in .pcapng"
    )]
    Mixed {
        /// Link type of the packets before.
        first: LinkType,
        /// The other one.
        other: LinkType,
    },
}

/// Form of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Pcap(Option<LinkType>),
    /// Link types of the interfaces described so far.
    PcapNg(Vec<LinkType>),
}

/// Writes packets as a capture.
#[derive(Debug)]
pub struct CaptureWriter<W: Write> {
    out: W,
    form: Form,
}

impl<W: Write> CaptureWriter<W> {
    /// A pcap file with nanoseconds; it holds packets of one link type.
    #[must_use]
    pub const fn pcap(out: W) -> Self {
        Self { out, form: Form::Pcap(None) }
    }

    /// A pcapng file; it holds packets of any link types.
    ///
    /// # Errors
    /// If the output fails.
    pub fn pcapng(mut out: W) -> io::Result<Self> {
        let body: [u32; 4] = [0x1A2B_3C4D, 1, u32::MAX, u32::MAX];
        out.write_all(&block(0x0A0D_0D0A, &body.map(u32::to_le_bytes).concat()))?;
        Ok(Self { out, form: Form::PcapNg(Vec::new()) })
    }

    /// Writes one packet.
    ///
    /// # Errors
    /// If the output fails, or its form has no place for the link type.
    pub fn packet(
        &mut self,
        linktype: LinkType,
        time: Timestamp,
        wirelen: u32,
        bytes: &[u8],
    ) -> Result<(), RecordError> {
        let caplen = bytes.len() as u32;
        match &mut self.form {
            Form::Pcap(known) => {
                match *known {
                    None => {
                        *known = Some(linktype);
                        self.out.write_all(&file_header(linktype))?;
                    }
                    Some(first) if first != linktype => return Err(RecordError::Mixed { first, other: linktype }),
                    Some(_) => {}
                }
                self.out.write_all(&record_header(time, caplen, wirelen))?;
                self.out.write_all(bytes)?;
            }
            Form::PcapNg(known) => {
                let interface = match known.iter().position(|each| *each == linktype) {
                    Some(interface) => interface,
                    None => {
                        known.push(linktype);
                        let mut body = u32::from(linktype.0).to_le_bytes().to_vec();
                        body.extend_from_slice(&MAX_CAPLEN.to_le_bytes());
                        // if_tsresol 9: nanoseconds; then the end of the options.
                        body.extend_from_slice(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
                        self.out.write_all(&block(1, &body))?;
                        known.len() - 1
                    }
                };
                let nanos = time.as_nanos() as u64;
                let head = [interface as u32, (nanos >> 32) as u32, nanos as u32, caplen, wirelen];
                let mut body = head.map(u32::to_le_bytes).concat();
                body.extend_from_slice(bytes);
                self.out.write_all(&block(6, &body))?;
            }
        }
        Ok(())
    }

    /// Ends the file. A pcap file without packets still gets its header, for Ethernet.
    ///
    /// # Errors
    /// If the output fails.
    pub fn finish(mut self) -> io::Result<W> {
        if self.form == Form::Pcap(None) {
            self.out.write_all(&file_header(LinkType::ETHERNET))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A pcapng block around a body.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let total = (12 + body.len() + padding) as u32;
    let mut block = Vec::with_capacity(total as usize);
    block.extend_from_slice(&kind.to_le_bytes());
    block.extend_from_slice(&total.to_le_bytes());
    block.extend_from_slice(body);
    block.extend_from_slice(&[0; 3][..padding]);
    block.extend_from_slice(&total.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::{CaptureWriter, RecordError, read_record, record_header};
    use crate::packet::LinkType;
    use crate::time::Timestamp;

    #[test]
    fn record_headers_read_back() {
        let time = Timestamp::new(1_700_000_000, 123_456_789);
        let record = read_record(&record_header(time, 60, 1_500)).unwrap();
        assert_eq!((record.time, record.caplen, record.wirelen), (time, 60, 1_500));
        assert!(read_record(&record_header(time, 61, 60)).is_none());
        assert!(read_record(&[0; 15]).is_none());
    }

    #[test]
    fn times_that_do_not_fit_become_the_nearest() {
        let read = |time| read_record(&record_header(time, 1, 1)).unwrap().time;
        assert_eq!(read(Timestamp::new(-5, 0)), Timestamp::EPOCH);
        assert_eq!(read(Timestamp::new(1 << 40, 0)).secs(), i64::from(u32::MAX));
    }

    #[test]
    fn a_pcap_file_holds_one_link_type() {
        let mut writer = CaptureWriter::pcap(Vec::new());
        writer.packet(LinkType::ETHERNET, Timestamp::EPOCH, 3, b"abc").unwrap();
        let error = writer.packet(LinkType::RAW, Timestamp::EPOCH, 3, b"abc").unwrap_err();
        assert!(matches!(error, RecordError::Mixed { .. }));
        assert_eq!(writer.finish().unwrap().len(), 24 + 16 + 3);
    }
}
