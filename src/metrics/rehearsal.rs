//! A counter group for tests.

use super::{Column, CounterGroupDefinition, GroupIndex, Registry, Shard, ShardConfig, Vartype};
use crate::guid::Guid;

const GUID: Guid = Guid::literal("{0B1C2D3E-0000-4000-8000-00000000ABCD}");

/// A shard with a group of meters numbered from 0, whose buckets last ten seconds.
pub fn shard(meters: &[Vartype], config: ShardConfig) -> (Shard, GroupIndex) {
    let (registry, group) = group(meters);
    (Shard::new(&registry, config), group)
}

/// The group by itself.
pub fn group(meters: &[Vartype]) -> (Registry, GroupIndex) {
    let mut registry = Registry::new();
    let row =
        |(id, vartype): (usize, &Vartype)| vec![Column::Number(id as f64), Column::Number(f64::from(vartype.number()))];
    let _ = registry.define_counter_group(CounterGroupDefinition {
        guid: GUID,
        name: b"Test".to_vec(),
        description: Vec::new(),
        bucketsize: Some(10.0),
        topper_bucketsize: None,
        resolver: None,
        meters: meters.iter().enumerate().map(row).collect(),
        keyinfo: Vec::new(),
    });
    let group = registry.counter_index(GUID).unwrap();
    (registry, group)
}
