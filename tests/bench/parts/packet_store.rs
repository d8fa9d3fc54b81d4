//! Packets into the store of packets.

use millstream::key::FlowTuple;
use millstream::packet::LinkType;
use millstream::sink::{Offer, PacketStore, StoreConfig, WhenFull};
use millstream::time::{Stopwatch, Timestamp};
use tempfile::TempDir;

use crate::{Outcome, clock, figure};

const PACKETS: u32 = 1_000_000;
const RUNS: usize = 3;

/// One of 50 flows.
fn flow(number: u32) -> FlowTuple {
    FlowTuple::v4(17, [10, 0, 0, (number % 50) as u8], [10, 0, 1, 1], 1_000 + (number % 50) as u16, 53).0
}

pub fn run() -> Outcome {
    let (mut fed, mut written, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..RUNS {
        let folder = TempDir::new()?;
        let store = PacketStore::open(&StoreConfig::new(folder.path().to_owned(), WhenFull::Block))?;
        let mut feed = store.feed();
        let packet = [9; 550];
        let watch = Stopwatch::start();
        for number in 0..PACKETS {
            let time = Timestamp::new(i64::from(number / 1_000), 0);
            let flow = flow(number / 8);
            feed.add(&Offer { time, wirelen: 550, linktype: LinkType::RAW, bytes: &packet, flow: Some(&flow) });
        }
        fed.push(f64::from(PACKETS) / watch.elapsed().as_secs_f64());
        drop(feed);
        let counts = store.close();
        written.push(f64::from(PACKETS) / watch.elapsed().as_secs_f64());
        bytes = counts.written_bytes;
    }
    figure("packet-store/fed", clock::median(fed), "packets/s")?;
    figure("packet-store/written", clock::median(written), "packets/s")?;
    figure("packet-store/size", bytes as f64 / 1e6, "MB")?;
    Ok(())
}
