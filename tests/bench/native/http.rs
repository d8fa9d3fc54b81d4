//! What HTTP carries, hashed on the thread that takes it apart. Reading, decoding, flows and dissectors are those of
//! millstream; there is no second implementation of HTTP to compare with. What is measured is what hashing costs where
//! the packets are.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use md5::Md5;
use millstream::capture::{FileOptions, FileSource, Fill, Source as _};
use millstream::decode::{Decoder, Registry};
use millstream::dissect::{DissectWants, Dissectors, FindingKind, Transaction};
use millstream::flow::{Direction, FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::packet::Batch;
use sha2::{Digest, Sha256};

use super::{Run, Totals};

/// What becomes of a body besides its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// It is a file until it is complete.
    File,
}

/// A body under way.
struct Body<D> {
    digest: D,
    len: u64,
    file: Option<(PathBuf, File)>,
}

/// All bodies of a capture with a hash by name.
///
/// # Errors
/// When the capture or the files cannot be used, or there is no such hash.
pub fn bodies(path: &str, hash: &str, keep: Keep) -> io::Result<Run> {
    match hash {
        "sha256" => hashed::<Sha256>(path, keep),
        "md5" => hashed::<Md5>(path, keep),
        _ => Err(io::Error::other(format!("no hash {hash}"))),
    }
}

fn hashed<D: Digest>(path: &str, keep: Keep) -> io::Result<Run> {
    let mut source = FileSource::open(&[path.into()], &FileOptions::default()).map_err(io::Error::other)?;
    let (mut batch, mut decoder, registry) = (Batch::new(), Decoder::new(), Registry::new());
    let wants = FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::No };
    let mut flows = Flows::new(FlowsConfig::default(), wants);
    let asked = DissectWants { http_headers: Want::Yes, http_bodies: Want::Yes, ..DissectWants::default() };
    let mut dissectors = Dissectors::new(asked);
    let mut bodies = Bodies::<D>::new(keep);
    let (mut packets, mut bytes) = (0, 0);
    while source.fill(&mut batch).map_err(io::Error::other)? == Fill::Packets {
        packets += batch.len() as u64;
        bytes += batch.packets().iter().map(|packet| u64::from(packet.wirelen)).sum::<u64>();
        decoder.decode(&registry, &mut batch);
        flows.process(&batch, &Fragments::default());
        dissectors.process(&batch, flows.events(), &flows);
        bodies.take(&dissectors)?;
        flows.settle();
    }
    let nothing = Batch::new();
    while {
        let more = flows.finish();
        dissectors.process(&nothing, flows.events(), &flows);
        bodies.take(&dissectors)?;
        flows.settle();
        more.is_yes()
    } {}
    let notes = format!(" bodies={} distinct={}", bodies.count, bodies.distinct.len());
    Ok(Run { packets, bytes, notes, totals: bodies.totals })
}

struct Bodies<D> {
    keep: Keep,
    open: HashMap<(Transaction, Direction), Body<D>>,
    count: u64,
    distinct: HashSet<String>,
    totals: Totals,
}

impl<D: Digest> Bodies<D> {
    fn new(keep: Keep) -> Self {
        Self { keep, open: HashMap::new(), count: 0, distinct: HashSet::new(), totals: Totals::new() }
    }

    /// Takes what was found in a batch.
    fn take(&mut self, dissectors: &Dissectors) -> io::Result<()> {
        let findings = dissectors.findings();
        for finding in findings.list() {
            let FindingKind::HttpBody { transaction, direction, bytes, .. } = finding.kind else { continue };
            let key = (transaction, direction);
            if bytes.is_empty() {
                if let Some(body) = self.open.remove(&key) {
                    self.end(body)?;
                }
                continue;
            }
            let bytes = findings.bytes(bytes);
            let body = match self.open.entry(key) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let file = match self.keep {
                        Keep::Nothing => None,
                        Keep::File => {
                            let name = format!("/dev/shm/bench-native-{}-{}", std::process::id(), transaction.0);
                            Some((PathBuf::from(&name), File::create(&name)?))
                        }
                    };
                    place.insert(Body { digest: D::new(), len: 0, file })
                }
            };
            if let Some((_, file)) = &mut body.file {
                file.write_all(bytes)?;
            }
            body.digest.update(bytes);
            body.len += bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self, body: Body<D>) -> io::Result<()> {
        let hex = HEXLOWER.encode(&body.digest.finalize());
        let key = hex[..16].to_owned();
        self.count += 1;
        self.distinct.insert(hex);
        *self.totals.entry((key.clone(), 0)).or_default() += 1;
        *self.totals.entry((key, 1)).or_default() += body.len;
        if let Some((path, _)) = body.file {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}
