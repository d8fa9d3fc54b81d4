//! *Mac* and *Dir Mac*: traffic by hardware address and by pair of them.

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::{Macs, Sight};
use crate::key::{BinaryKey, KeyText, mac_key};
use crate::metrics::{GroupIndex, KeyRef, Shard};

const TRANSMIT: u32 = 0;
const RECEIVE: u32 = 1;

#[inline]
fn number(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[inline]
fn mac(number: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = number.to_be_bytes();
    mac
}

/// Adds up what goes between two addresses, there and back, for as long as nobody else says anything: most links have few
/// stations, and packets of the same two come one behind the other.
#[inline]
fn for_each_talk(sights: &[Sight], mut tell: impl FnMut(&Macs, [u64; 2])) {
    let mut talk: Option<(Macs, [u64; 2])> = None;
    for sight in sights {
        let (Some(macs), wire) = (&sight.macs, u64::from(sight.wire)) else { continue };
        if let Some((first, sums)) = &mut talk {
            if first == macs {
                sums[0] += wire;
                continue;
            }
            if first.source == macs.destination && first.destination == macs.source {
                sums[1] += wire;
                continue;
            }
            tell(first, *sums);
        }
        talk = Some((*macs, [wire, 0]));
    }
    if let Some((macs, sums)) = talk {
        tell(&macs, sums);
    }
}

/// Counts what each address sends and receives.
#[derive(Debug)]
pub(super) struct Mac {
    group: GroupIndex,
    sums: Combiner<u64, [u64; 2]>,
}

impl Mac {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush_mac(group: GroupIndex, key: u64, sums: &[u64; 2], shard: &mut Shard) {
    let mut updates = Updates::<2>::new();
    updates.nonzero(TRANSMIT, sums[0]);
    updates.nonzero(RECEIVE, sums[1]);
    updates.send(shard, group, KeyRef::Binary(&BinaryKey::mac(mac(key))));
}

impl Module for Mac {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for_each_talk(sights, |macs, [there, back]| {
            let mut add = |mac, [sent, received]: [u64; 2]| {
                let sums = self.sums.sums(number(mac), |key, sums| flush_mac(group, key, sums, shard));
                sums[0] += sent;
                sums[1] += received;
            };
            add(macs.source, [there, back]);
            add(macs.destination, [back, there]);
        });
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush_mac(group, key, sums, shard));
    }
}

/// Counts pairs of addresses, the lower one first.
#[derive(Debug)]
pub(super) struct DirMac {
    group: GroupIndex,
    sums: Combiner<Option<u128>, [u64; 2]>,
}

impl DirMac {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush_pair(group: GroupIndex, key: Option<u128>, sums: &[u64; 2], shard: &mut Shard) {
    let Some(key) = key else { return };
    let mut text = KeyText::new();
    text.push_str(mac_key(mac((key >> 64) as u64)).as_str());
    text.push_str("_");
    text.push_str(mac_key(mac(key as u64)).as_str());
    let mut updates = Updates::<3>::new();
    updates.always(0, sums[0] + sums[1]);
    updates.nonzero(1, sums[0]);
    updates.nonzero(2, sums[1]);
    updates.send(shard, group, KeyRef::Text(text.as_bytes()));
}

impl Module for DirMac {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for_each_talk(sights, |macs, [there, back]| {
            let (source, destination) = (number(macs.source), number(macs.destination));
            let (a, z, direction) =
                if source <= destination { (source, destination, 0) } else { (destination, source, 1) };
            let sums = self
                .sums
                .sums(Some(u128::from(a) << 64 | u128::from(z)), |key, sums| flush_pair(group, key, sums, shard));
            sums[direction] += there;
            sums[1 - direction] += back;
        });
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush_pair(group, key, sums, shard));
    }
}
