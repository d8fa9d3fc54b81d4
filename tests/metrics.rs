//! The metering semantics as scripts and sinks see them: buckets, vartypes, keys, limits, merging.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use millstream::guid::Guid;
use millstream::key::{BinaryKey, Host, KeyKind};
use millstream::metrics::{
    Buckets, Column, CounterGroupDefinition, Group, GroupIndex, GroupKind, Growth, KeyRef, Level, Notice, Outcome,
    Rank, Registry, RunTotals, Shard, ShardConfig, ShardCounts, Snapshot, Tallies, Vartype,
};
use millstream::time::Timestamp;
use proptest::prelude::{any, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

const GUID: Guid = Guid::literal("{0B1C2D3E-0000-4000-8000-00000000ABCD}");

fn at(secs: i64) -> Timestamp {
    Timestamp::new(secs, 0)
}

fn definition(bucketsize: f64, vartypes: &[Vartype]) -> CounterGroupDefinition {
    let row =
        |(id, vartype): (usize, &Vartype)| vec![Column::Number(id as f64), Column::Number(f64::from(vartype.number()))];
    CounterGroupDefinition {
        guid: GUID,
        name: b"Test".to_vec(),
        description: Vec::new(),
        bucketsize: Some(bucketsize),
        topper_bucketsize: None,
        resolver: None,
        meters: vartypes.iter().enumerate().map(row).collect(),
        keyinfo: Vec::new(),
    }
}

fn registry(bucketsize: f64, vartypes: &[Vartype]) -> (Registry, GroupIndex) {
    let mut registry = Registry::new();
    assert!(registry.define_counter_group(definition(bucketsize, vartypes)).is_empty());
    let index = registry.counter_index(GUID).unwrap();
    (registry, index)
}

fn shard(bucketsize: f64, vartypes: &[Vartype], config: ShardConfig) -> (Shard, GroupIndex) {
    let (registry, index) = registry(bucketsize, vartypes);
    (Shard::new(&registry, config), index)
}

#[test]
fn every_update_of_a_key_beyond_the_cap_is_counted_as_such() {
    let config = ShardConfig { hard_cap: 1, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], config);
    shard.update(group, b"first", 0, 1.0);
    for round in 1..=3 {
        let text = b"second".as_slice();
        assert_eq!(shard.update(group, text, 0, 1.0), Outcome::Counted);
        assert_eq!(shard.update_binary(group, KeyKind::Port, &[0, 80], 0, 1.0), Outcome::Counted);
        assert_eq!(shard.key_counts(group).overflowed, 2 * round);
    }
}

#[test]
fn every_meter_of_a_key_that_is_not_taken_counts_as_an_update() {
    let both = [(0, 1.0), (1, 2.0)];
    let key = KeyRef::Text(b"second");
    let meters = [Vartype::Counter; 2];

    let (mut capped, group) = shard(10.0, &meters, ShardConfig { hard_cap: 1, ..ShardConfig::default() });
    let fixed = ShardConfig { high_water: 1, growth: Growth::Fixed, ..ShardConfig::default() };
    let (mut fixed, _) = shard(10.0, &meters, fixed);
    for shard in [&mut capped, &mut fixed] {
        assert_eq!(shard.update_meters(group, KeyRef::Text(b"first"), &both), Outcome::Counted);
    }
    assert_eq!(capped.update_meters(group, key, &both), Outcome::Counted);
    assert!(capped.update_sum(group, KeyKind::Port, 80, 0, 30.0, 3).is_none(), "no place of its own");
    let counts = capped.key_counts(group);
    assert_eq!((counts.overflowed, counts.updates, capped.counts()), (5, 7, ShardCounts::default()));
    assert!(finish(&mut capped).contains(&row(0, "SYS:OVERFLOW", &[31.0, 2.0])));

    assert_eq!(fixed.update_meters(group, key, &both), Outcome::Rejected);
    assert!(fixed.update_sum(group, KeyKind::Port, 80, 0, 30.0, 3).is_none());
    let counts = fixed.key_counts(group);
    assert_eq!((counts.rejected, counts.updates, fixed.counts().rejected), (5, 2, 5));

    let first = KeyRef::Text(b"first");
    for (updates, taken) in [([(0, 1.0), (9, 1.0), (1, 1.0)], 1), ([(9, 1.0), (0, 1.0), (1, 1.0)], 0)] {
        let before = (fixed.key_counts(group).updates, fixed.counts().unknown_meter);
        assert_eq!(fixed.update_meters(group, first, &updates), Outcome::UnknownMeter);
        let after = (fixed.key_counts(group).updates, fixed.counts().unknown_meter);
        assert_eq!(after, (before.0 + taken, before.1 + 3 - taken));
    }
    assert_eq!(fixed.update_meters(GroupIndex(999), first, &both), Outcome::UnknownGroup);
    assert_eq!(fixed.counts().unknown_group, 2);
}

type Row = (i64, String, Vec<f64>);

/// The rows of a bucket in their order, which it has as one of many.
fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    Snapshot::merge(vec![snapshot.clone()])[0].for_each(|key, values| {
        rows.push((snapshot.start(), String::from_utf8_lossy(key).into_owned(), values.to_vec()));
    });
    rows
}

fn advance(shard: &mut Shard, secs: i64) -> Vec<Row> {
    let mut all = Vec::new();
    shard.advance(at(secs), |snapshot| all.extend(rows(&snapshot)));
    all
}

fn finish(shard: &mut Shard) -> Vec<Row> {
    let mut all = Vec::new();
    shard.finish(|snapshot| all.extend(rows(&snapshot)));
    all
}

fn row(start: i64, key: &str, values: &[f64]) -> Row {
    (start, key.to_owned(), values.to_vec())
}

/// Updates of one meter of a bucket of 10 seconds at the given times; the values of key `k` per bucket.
fn values_of(vartype: Vartype, updates: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let (mut shard, group) = shard(10.0, &[vartype], ShardConfig::default());
    let mut all = Vec::new();
    for &(secs, value) in updates {
        all.extend(advance(&mut shard, secs));
        assert_eq!(shard.update(group, b"k", 0, value), Outcome::Counted);
    }
    all.extend(finish(&mut shard));
    all.into_iter().filter(|row| row.1 == "k").map(|row| (row.0, row.2[0])).collect()
}

#[test]
fn metering_through_two_buckets_as_the_contract_prints_it() {
    use Vartype::{Average, Counter, Maximum, RateCounter};
    let (mut shard, group) = shard(30.0, &[RateCounter, Counter, Maximum, Average], ShardConfig::default());
    let mut printed = Vec::new();
    for (secs, len) in [(10, 300.0), (20, 600.0), (40, 900.0), (130, 100.0)] {
        printed.extend(advance(&mut shard, secs));
        for (meter, value) in [(0, len), (1, 1.0), (2, len), (3, len)] {
            assert_eq!(shard.update(group, b"k", meter, value), Outcome::Counted);
        }
    }
    assert_eq!(
        printed,
        [
            row(0, "k", &[30.0, 2.0, 600.0, 450.0]),
            row(0, "SYS:GROUP_TOTALS", &[30.0, 2.0, 600.0, 450.0]),
            row(30, "k", &[30.0, 1.0, 900.0, 900.0]),
            row(30, "SYS:GROUP_TOTALS", &[30.0, 1.0, 900.0, 900.0]),
        ]
    );
    let third = 100.0 / 30.0;
    assert_eq!(
        finish(&mut shard),
        [row(120, "k", &[third, 1.0, 100.0, 100.0]), row(120, "SYS:GROUP_TOTALS", &[third, 1.0, 100.0, 100.0])]
    );
}

#[test]
fn counters_clamp_a_negative_bucket_and_start_again() {
    assert_eq!(values_of(Vartype::Counter, &[(0, 5.0), (1, -8.0), (10, 4.0), (11, -1.0)]), [(0, 0.0), (10, 3.0)]);
    assert_eq!(values_of(Vartype::RateCounter, &[(0, -8.0), (10, 4.0)]), [(0, 0.0), (10, 0.4)]);
}

#[test]
fn gauge_maximum_and_minimum_hold_their_bucket_only() {
    let updates = [(0, 7.0), (1, -3.0), (2, 2.0), (10, -5.0)];
    assert_eq!(values_of(Vartype::Gauge, &updates), [(0, 2.0), (10, -5.0)]);
    assert_eq!(values_of(Vartype::Maximum, &updates), [(0, 7.0), (10, -5.0)]);
    assert_eq!(values_of(Vartype::Minimum, &updates), [(0, -3.0), (10, -5.0)]);
}

#[test]
fn average_counts_zeros() {
    assert_eq!(values_of(Vartype::Average, &[(0, 3.0), (1, 0.0), (10, -2.0)]), [(0, 1.5), (10, -2.0)]);
}

#[test]
fn running_counter_survives_buckets_is_flushed_while_not_zero_and_never_negative() {
    let updates = [(0, 2.0), (1, -5.0), (2, 3.0), (30, -1.0), (40, -2.0), (70, 1.0)];
    // After -5 the total is 0, not -3. Buckets 10 and 20 have no update but a total; 50 and 60 have neither.
    assert_eq!(
        values_of(Vartype::RunningCounter, &updates),
        [(0, 3.0), (10, 3.0), (20, 3.0), (30, 2.0), (40, 0.0), (70, 1.0)]
    );
}

#[test]
fn delta_rate_divides_by_the_distance_of_the_buckets_and_restarts_on_a_reset() {
    let updates = [(0, 100.0), (12, 150.0), (13, 300.0), (40, 900.0), (50, 10.0), (60, 30.0)];
    assert_eq!(
        values_of(Vartype::DeltaRateCounter, &updates),
        [(0, 0.0), (10, 20.0), (40, 20.0), (50, 0.0), (60, 2.0)]
    );
}

#[test]
fn untouched_meters_read_zero_except_running_totals() {
    use Vartype::{Average, Counter, DeltaRateCounter, Gauge, Maximum, Minimum, RunningCounter};
    let vartypes = [Counter, Gauge, RunningCounter, Average, DeltaRateCounter, Maximum, Minimum];
    let (mut shard, group) = shard(10.0, &vartypes, ShardConfig::default());
    advance(&mut shard, 0);
    for meter in 0..7 {
        shard.update(group, b"k", meter, 4.0);
    }
    assert_eq!(advance(&mut shard, 10)[0], row(0, "k", &[4.0, 4.0, 4.0, 4.0, 0.0, 4.0, 4.0]));
    shard.update(group, b"k", 0, 1.0);
    assert_eq!(advance(&mut shard, 20)[0], row(10, "k", &[1.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]));
}

#[test]
fn totals_follow_their_vartype() {
    use Vartype::{Average, Counter, Gauge, Maximum, Minimum, RateCounter, RunningCounter};
    let vartypes = [Counter, RateCounter, Gauge, RunningCounter, Average, Maximum, Minimum];
    let (mut shard, group) = shard(10.0, &vartypes, ShardConfig::default());
    advance(&mut shard, 0);
    for (key, value) in [("a", 1.0), ("b", 2.0), ("b", 6.0)] {
        for meter in 0..7 {
            shard.update(group, key.as_bytes(), meter, value);
        }
    }
    let rows = finish(&mut shard);
    assert_eq!(rows[2], row(0, "SYS:GROUP_TOTALS", &[9.0, 0.9, 7.0, 9.0, 3.0, 6.0, 1.0]));
}

#[test]
fn gaps_between_meter_ids_read_zero_and_refuse_updates() {
    let mut registry = Registry::new();
    let counter = |id: f64| vec![Column::Number(id), Column::Number(2.0)];
    let definition = CounterGroupDefinition { meters: vec![counter(0.0), counter(3.0)], ..definition(10.0, &[]) };
    registry.define_counter_group(definition);
    let group = registry.counter_index(GUID).unwrap();
    let mut shard = Shard::new(&registry, ShardConfig::default());
    assert_eq!(shard.update(group, b"k", 3, 2.0), Outcome::Counted);
    assert_eq!(shard.update(group, b"k", 1, 2.0), Outcome::UnknownMeter);
    assert_eq!(shard.update(group, b"k", 32, 2.0), Outcome::UnknownMeter);
    assert_eq!(shard.update(GroupIndex(999), b"k", 0, 2.0), Outcome::UnknownGroup);
    assert_eq!(finish(&mut shard)[0], row(0, "k", &[0.0, 0.0, 0.0, 2.0]));
    assert_eq!((shard.counts().unknown_meter, shard.counts().unknown_group), (2, 1));
}

#[test]
fn text_and_bytes_of_a_key_meet_in_one_record() {
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], ShardConfig::default());
    shard.update(group, b"C0.A8.01.02", 0, 1.0);
    shard.update(group, b"C0.A8.01.02\0garbage", 0, 1.0);
    shard.update_binary(group, KeyKind::Host4, &[192, 168, 1, 2], 0, 1.0);
    shard.update_binary(group, KeyKind::Text, b"C0.A8.01.02", 0, 1.0);
    shard.update_key(group, &BinaryKey::host(Host::V4([192, 168, 1, 2])), 0, 1.0);
    shard.update_binary(group, KeyKind::Port, &[0x01, 0xBB], 0, 1.0);
    shard.update(group, b"p-01BB", 0, 1.0);
    shard.update_binary(group, KeyKind::Mac, &[0, 0x1C, 0xC0, 0xB9, 0xB9, 0x10], 0, 1.0);
    shard.update(group, b"00:1C:C0:B9:B9:10", 0, 1.0);
    shard.update_binary(group, KeyKind::Host6, &[0xFE; 16], 0, 1.0);
    shard.update(group, "FE".repeat(16).as_bytes(), 0, 1.0);
    // Another letter case is another key.
    shard.update(group, b"p-01bb", 0, 1.0);
    let wrong = [(KeyKind::Host4, 3), (KeyKind::Host6, 4), (KeyKind::Port, 0), (KeyKind::Mac, 7)];
    for (kind, len) in wrong {
        assert_eq!(shard.update_binary(group, kind, &[1; 7][..len], 0, 1.0), Outcome::Malformed);
    }
    assert_eq!(shard.counts(), ShardCounts { malformed: 4, ..ShardCounts::default() });
    assert!(shard.counts().named().contains(&("key_malformed", 4)));
    let rows: Vec<(String, f64)> = finish(&mut shard).into_iter().map(|row| (row.1, row.2[0])).collect();
    let expected = [
        ("00:1C:C0:B9:B9:10".to_owned(), 2.0),
        ("C0.A8.01.02".to_owned(), 5.0),
        ("FE".repeat(16), 2.0),
        ("p-01BB".to_owned(), 2.0),
        ("p-01bb".to_owned(), 1.0),
        ("SYS:GROUP_TOTALS".to_owned(), 12.0),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn hostile_keys_are_cut_and_reserved_ones_refused() {
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], ShardConfig::default());
    for key in [&[b'x'; 65_536][..], &[0xFF; 300], b"", b"\0", b"a\xC3\x28"] {
        assert_eq!(shard.update(group, key, 0, 1.0), Outcome::Counted);
    }
    for key in [&b"SYS:GROUP_TOTALS"[..], b"SYS:GROUP_TOTALS\0"] {
        assert_eq!(shard.update(group, key, 0, 1.0), Outcome::Reserved);
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(shard.update(group, b"k", 0, value), Outcome::NotFinite);
    }
    let mut lengths = Vec::new();
    shard.finish(|snapshot| Snapshot::merge(vec![snapshot])[0].for_each(|key, _| lengths.push(key.len())));
    assert_eq!(lengths, [0, 3, 255, 255, 16]);
    assert_eq!((shard.counts().reserved, shard.counts().not_finite, shard.counts().cut), (2, 3, 2));
}

#[test]
fn time_never_goes_back_and_a_long_jump_closes_at_most_two_buckets() {
    let (mut shard, group) = shard(10.0, &[Vartype::RunningCounter], ShardConfig::default());
    advance(&mut shard, 105);
    shard.update(group, b"k", 0, 1.0);
    assert!(advance(&mut shard, 3).is_empty());
    assert_eq!(shard.counts().time_back, 1);
    assert_eq!(shard.next_boundary(), at(110));
    let days = 400 * 86_400;
    let starts: Vec<i64> =
        advance(&mut shard, 105 + days).into_iter().filter(|row| row.1 == "k").map(|row| row.0).collect();
    assert_eq!(starts, [100, 90 + days]);
    for secs in [i64::MAX / 1_000_000_000, i64::MAX] {
        shard.advance(Timestamp::new(secs, 0), |_| ());
    }
    shard.finish(|_| ());
}

#[test]
fn buckets_are_aligned_also_before_the_epoch() {
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], ShardConfig::default());
    advance(&mut shard, -5);
    shard.update(group, b"k", 0, 1.0);
    assert_eq!(shard.next_boundary(), at(0));
    assert_eq!(advance(&mut shard, 0)[0], row(-10, "k", &[1.0]));
}

#[test]
fn buckets_of_several_groups_close_in_time_order() {
    let mut registry = Registry::new();
    let second = Guid::from_u128(2);
    registry.define_counter_group(definition(60.0, &[Vartype::RunningCounter]));
    registry
        .define_counter_group(CounterGroupDefinition { guid: second, ..definition(20.0, &[Vartype::RunningCounter]) });
    let groups = [registry.counter_index(GUID).unwrap(), registry.counter_index(second).unwrap()];
    let mut shard = Shard::new(&registry, ShardConfig::default());
    shard.advance(at(0), |_| ());
    for group in groups {
        shard.update(group, b"k", 0, 1.0);
    }
    let mut order = Vec::new();
    shard.advance(at(120), |s| order.push((s.end().secs(), s.group() == groups[0])));
    let [long, short] = [true, false];
    assert_eq!(
        order,
        [(20, short), (40, short), (60, long), (60, short), (80, short), (100, short), (120, long), (120, short)]
    );
}

#[test]
fn pruning_keeps_the_totals_and_accounts_for_every_key() {
    let config = ShardConfig { high_water: 100, low_water: 60, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::Counter, Vartype::RunningCounter], config);
    let mut sum = 0.0;
    for bucket in 0..20 {
        for row in advance(&mut shard, bucket * 10) {
            if row.1 == "SYS:GROUP_TOTALS" {
                sum += row.2[0];
            }
        }
        for key in 0..50 {
            shard.update(group, format!("a long enough key {bucket} {key}").as_bytes(), 0, 2.0);
        }
        shard.update(group, b"always", 0, 1.0);
        shard.update(group, b"running", 1, 1.0);
    }
    sum += finish(&mut shard).last().unwrap().2[0];
    assert_eq!(sum, 20.0 * 101.0);
    let counts = shard.key_counts(group);
    assert_eq!(counts.seen, counts.kept + counts.pruned);
    assert!(counts.kept <= 100 && counts.pruned > 800, "{counts:?}");
    let totals = RunTotals::of(&shard);
    let totals = totals.group(group).unwrap();
    assert_eq!((totals.total(0), totals.total(1)), (20.0 * 101.0, 20.0));
    // Recently updated keys and those with a running total stayed.
    assert_eq!(totals.ranked(0, 1, Rank::Largest)[0].key, b"always");
    assert_eq!(totals.ranked(1, 1, Rank::Largest)[0].value, 20.0);
}

#[test]
fn pruned_running_totals_stay_in_the_group_total() {
    let config = ShardConfig { high_water: 10, low_water: 5, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::RunningCounter], config);
    advance(&mut shard, 0);
    for key in 0..40u8 {
        shard.update(group, &[b'k', key + 1], 0, 1.0);
    }
    advance(&mut shard, 10);
    let total = |rows: Vec<Row>| rows.last().unwrap().2[0];
    assert_eq!(total(advance(&mut shard, 20)), 40.0);
    // A key whose total was pruned gives its share back when it counts down.
    for key in 0..40u8 {
        shard.update(group, &[b'k', key + 1], 0, -1.0);
    }
    assert_eq!(total(advance(&mut shard, 30)), 0.0);
}

#[test]
fn the_hard_cap_moves_new_keys_to_the_overflow_key() {
    let config = ShardConfig { hard_cap: 100, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], config);
    for key in 0..1_000 {
        assert_eq!(shard.update(group, format!("k{key}").as_bytes(), 0, 1.0), Outcome::Counted);
    }
    let counts = shard.key_counts(group);
    assert_eq!((counts.kept, counts.overflowed, counts.updates), (101, 900, 1_000));
    let rows = finish(&mut shard);
    assert!(rows.contains(&row(0, "SYS:OVERFLOW", &[900.0])));
    assert_eq!(rows.last().unwrap().2, [1_000.0]);
}

#[test]
fn fixed_growth_rejects_new_keys_at_the_mark() {
    let config = ShardConfig { high_water: 10, growth: Growth::Fixed, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::Counter], config);
    let outcomes: Vec<Outcome> = (0..20).map(|key| shard.update(group, format!("k{key}").as_bytes(), 0, 1.0)).collect();
    assert!(
        outcomes[..10].iter().all(|&o| o == Outcome::Counted) && outcomes[10..].iter().all(|&o| o == Outcome::Rejected)
    );
    assert_eq!(shard.update(group, b"k3", 0, 1.0), Outcome::Counted);
    assert_eq!((shard.key_counts(group).rejected, shard.counts().rejected), (10, 10));
}

#[test]
fn memory_levels_out_under_a_flood_of_keys() {
    let config = ShardConfig { high_water: 1_000, low_water: 500, buckets: Buckets::Discard, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::RateCounter, Vartype::Counter], config);
    let mut largest = [0; 2];
    for bucket in 0..200 {
        shard.advance(at(bucket * 10), |_| panic!("nobody reads buckets"));
        for key in 0..2_000 {
            shard.update(group, format!("{bucket:030}-{key:030}").as_bytes(), 0, 1.0);
        }
        let half = usize::from(bucket >= 100);
        largest[half] = largest[half].max(shard.bytes());
    }
    assert!(largest[1] <= largest[0], "{largest:?}");
    shard.finish(|_| ());
    assert_eq!(RunTotals::of(&shard).group(group).unwrap().total(0), 400_000.0);
}

#[test]
fn tallies_tell_the_updates_as_they_were_made() {
    let config = ShardConfig { tallies: Tallies::On, high_water: 2, low_water: 1, ..ShardConfig::default() };
    let (mut shard, group) = shard(10.0, &[Vartype::Counter, Vartype::RunningCounter], config);
    advance(&mut shard, 0);
    for value in [5.0, -7.0, 3.0] {
        shard.update(group, b"k", 1, value);
    }
    for key in ["a", "b", "c"] {
        shard.update(group, key.as_bytes(), 0, 1.0);
    }
    finish(&mut shard);
    let mut tallies = Vec::new();
    RunTotals::of(&shard).group(group).unwrap().for_each_tally(|key, meter, t| tallies.push((key.to_vec(), meter, *t)));
    assert_eq!(tallies.len(), 1);
    let (key, meter, tally) = &tallies[0];
    assert_eq!(
        (&key[..], *meter, tally.updates, tally.sum, tally.min, tally.max, tally.last),
        (&b"k"[..], 1, 3, 1.0, -7.0, 5.0, 3.0)
    );
}

#[test]
fn built_in_groups_are_registered_in_order_with_their_meters() {
    let registry = Registry::new();
    let names: Vec<&[u8]> = registry.counter_groups().map(|g| &g.name[..]).collect();
    assert_eq!(names.len(), 63);
    assert_eq!(
        (names[0], names[1], names[2], names[62]),
        (&b"Aggregates"[..], &b"Hosts"[..], &b"HostsIPv6"[..], &b"SNMP-Interface"[..])
    );
    let hosts = registry.find_name(GroupKind::Counter, b"Hosts").unwrap();
    assert_eq!((hosts.meters.len(), hosts.meters[4].vartype, hosts.meters[16].top), (17, Vartype::RunningCounter, 100));
    let apps = registry.find_name(GroupKind::Counter, b"Apps").unwrap();
    assert_eq!(
        (apps.bucketsize, apps.level, apps.meters[9].name.as_slice()),
        (300, Level::Native, &b"Outof Interface"[..])
    );
    assert_eq!(registry.groups(GroupKind::Alert).count(), 7);
    assert_eq!(registry.groups(GroupKind::Resource).count(), 4);
    assert_eq!(registry.groups(GroupKind::Fts).count(), 3);
    for (kind, alias, name) in [
        (GroupKind::Counter, "{6CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", "HostsIPv6"),
        (GroupKind::Alert, "{18CE5961-38FF-4AEA-BAF8-2019F3A09063}", "Flow Tracker"),
        (GroupKind::Resource, "{9781db2c-f78a-4f7f-a7e8-2b1a9a7be71a}", "File Hashes"),
        (GroupKind::Counter, "{9781db2c-f78a-4f7f-a7e8-2b1a9a7be71a}", "SNMP-Interface"),
    ] {
        assert_eq!(registry.find(kind, alias.parse().unwrap()).unwrap().name, name.as_bytes());
    }
    let orgs = registry.find_name(GroupKind::Counter, b"TLS Organizations").unwrap();
    assert_eq!(orgs.name, b"TLS Orgs");
    for index in 0..63 {
        let group = registry.counter_group(GroupIndex(index)).unwrap();
        assert_eq!(registry.counter_index(group.guid), Some(GroupIndex(index)));
    }
}

fn define(registry: &mut Registry, guid: &str, bucketsize: f64, ids: &[f64]) -> (Vec<Notice>, Group) {
    let guid: Guid = guid.parse().unwrap();
    let rows = ids.iter().map(|&id| vec![Column::Number(id), Column::Number(9.0)]).collect();
    let notices =
        registry.define_counter_group(CounterGroupDefinition { guid, meters: rows, ..definition(bucketsize, &[]) });
    (notices, registry.find(GroupKind::Counter, guid).unwrap().clone())
}

#[test]
fn definitions_of_one_group_merge_by_level() {
    let mut registry = Registry::new();
    let registered = "{03E016FC-46AA-4340-90FC-0E278B93C677}";
    let (notices, group) = define(&mut registry, registered, 1.0, &[0.0]);
    assert_eq!((notices.len(), group.bucketsize, group.meters.len(), group.name.as_slice()), (0, 1, 1, &b"Test"[..]));
    let (notices, group) = define(&mut registry, registered, 10.0, &[0.0, 5.0]);
    assert!(matches!(notices[..], [Notice::DefinedTwice { added: 1, .. }]) && !notices[0].is_warning());
    assert_eq!((group.bucketsize, group.meters.len()), (1, 2));
    let (notices, group) = define(&mut registry, "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", 10.0, &[0.0, 20.0]);
    assert!(matches!(notices[..], [Notice::BuiltIn { added: 1, .. }]) && notices[0].is_warning());
    assert_eq!((group.bucketsize, group.meters.len(), group.name.as_slice()), (60, 18, &b"Hosts"[..]));
    // A definition without meters adds none.
    let (_, group) = define(&mut registry, "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", 10.0, &[]);
    assert_eq!(group.meters.len(), 18);
    let alert = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}".parse().unwrap();
    assert!(matches!(registry.define_group(GroupKind::Alert, alert, b"x", b"")[..], [Notice::BuiltIn { .. }]));
    assert!(registry.define_group(GroupKind::Alert, GUID, b"x", b"").is_empty());
    assert!(matches!(registry.define_group(GroupKind::Alert, GUID, b"y", b"")[..], [Notice::DefinedTwice { .. }]));
    assert_eq!(registry.find(GroupKind::Alert, GUID).unwrap().name, b"x");
}

#[test]
fn rows_of_both_forms_and_odd_values_are_read() {
    let number = Column::Number;
    let text = |t: &str| Column::Text(t.as_bytes().to_vec());
    let rows = vec![
        vec![number(0.0), number(4.0), number(20.0), number(5.0), text("Name"), text("desc"), text("B")],
        vec![number(1.0), number(2.0), number(20.0), text("Name"), text("desc"), text("B")],
        vec![text("2"), number(77.0)],
        vec![number(1.0), number(2.0)],
        vec![number(32.0), number(2.0)],
        vec![number(1.5), number(2.0)],
        vec![Column::Absent],
    ];
    let mut registry = Registry::new();
    let notices = registry.define_counter_group(CounterGroupDefinition { meters: rows, ..definition(0.0, &[]) });
    let group = registry.find(GroupKind::Counter, GUID).unwrap();
    let read: Vec<_> = group
        .meters
        .iter()
        .map(|m| (m.id, m.vartype, m.top, m.bottom, &m.name[..], &m.description[..], &m.units[..]))
        .collect();
    assert_eq!(
        read,
        [
            (0, Vartype::RateCounter, 20, 5, &b"Name"[..], &b"desc"[..], &b"B"[..]),
            (1, Vartype::Counter, 20, 0, &b"Name"[..], &b"desc"[..], &b"B"[..]),
            (2, Vartype::Counter, 0, 0, &b""[..], &b""[..], &b""[..]),
        ]
    );
    assert_eq!(notices.len(), 5, "{notices:?}");
    assert_eq!((group.bucketsize, group.topper_bucketsize), (60, 300));
    for (written, read) in [(0.4, 1), (2.6, 3), (-1.0, 60), (f64::NAN, 60), (1e300, u32::MAX)] {
        let guid = Guid::from_u128(written.to_bits().into());
        registry.define_counter_group(CounterGroupDefinition { guid, ..definition(written, &[]) });
        let group = registry.find(GroupKind::Counter, guid).unwrap();
        assert_eq!(
            (group.bucketsize, group.meters.len(), group.meters[0].vartype),
            (read, 1, Vartype::Counter),
            "{written}"
        );
    }
}

/// Keys of every form, few enough to collide.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0u8..4).prop_map(|b| format!("0A.00.00.{b:02X}").into_bytes()),
        (0u8..4).prop_map(|b| format!("a key that is kept in the text store {b}").into_bytes()),
        "[ab]{0,2}".prop_map(String::into_bytes),
        Just(b"p-0050".to_vec()),
    ]
}

proptest! {
    #[test]
    fn any_split_over_shards_merges_to_one(
        updates in proptest::collection::vec((any_key(), 0u32..5, 0i32..100, 0i64..4, 0usize..3), 0..200),
    ) {
        use Vartype::{Average, Counter, Maximum, Minimum, RateCounter};
        let (registry, group) = registry(10.0, &[Counter, RateCounter, Average, Maximum, Minimum]);
        let config = ShardConfig { tallies: Tallies::On, ..ShardConfig::default() };
        let mut shards = vec![Shard::new(&registry, config); 4];
        let mut closed = vec![Vec::new(); 4];
        let mut now = 0;
        for (key, meter, value, step, to) in updates {
            now += step * 5;
            for (shard, closed) in shards.iter_mut().zip(&mut closed) {
                shard.advance(at(now), |snapshot| closed.push(snapshot));
            }
            for to in [0, to + 1] {
                shards[to].update(group, &key, meter, f64::from(value));
            }
        }
        for (shard, closed) in shards.iter_mut().zip(&mut closed) {
            shard.finish(|snapshot| closed.push(snapshot));
        }
        let one: Vec<Row> = closed.remove(0).iter().flat_map(rows).collect();
        let many: Vec<Row> = Snapshot::merge(closed.into_iter().flatten().collect()).iter().flat_map(rows).collect();
        assert_eq!(one, many);
        let whole = RunTotals::of(&shards.remove(0));
        let merged = RunTotals::merge(shards.iter().map(RunTotals::of).collect()).unwrap();
        let read = |totals: &RunTotals| {
            let group = totals.group(group).unwrap();
            let mut rows = Vec::new();
            group.for_each(|key, values| rows.push((key.to_vec(), values.to_vec())));
            let mut sums = Vec::new();
            group.for_each_tally(|key, meter, t| sums.push((key.to_vec(), meter, t.updates, t.sum, t.min, t.max)));
            (rows, sums, (0..5).map(|m| group.total(m)).collect::<Vec<_>>(), group.counts())
        };
        assert_eq!(read(&whole), read(&merged));
    }

    #[test]
    fn any_split_by_key_merges_to_one_for_every_vartype(
        updates in proptest::collection::vec((any_key(), 0u32..8, -50i32..100, 0i64..4), 0..200), salt in any::<u8>(),
    ) {
        let (registry, group) = registry(10.0, &Vartype::ALL);
        let mut shards = vec![Shard::new(&registry, ShardConfig::default()); 3];
        let mut closed = vec![Vec::new(); 3];
        let mut now = 0;
        for (key, meter, value, step) in updates {
            now += step * 5;
            for (shard, closed) in shards.iter_mut().zip(&mut closed) {
                shard.advance(at(now), |snapshot| closed.push(snapshot));
            }
            let owner = key.iter().fold(salt, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte)) % 2;
            for to in [0, usize::from(owner) + 1] {
                shards[to].update(group, &key, meter, f64::from(value));
            }
        }
        for (shard, closed) in shards.iter_mut().zip(&mut closed) {
            shard.finish(|snapshot| closed.push(snapshot));
        }
        let one: Vec<Row> = closed.remove(0).iter().flat_map(rows).collect();
        let many: Vec<Row> = Snapshot::merge(closed.into_iter().flatten().collect()).iter().flat_map(rows).collect();
        // Rates are fractions, and their sum depends on the order of the keys.
        assert_eq!(one.len(), many.len());
        for (a, b) in one.iter().zip(&many) {
            assert_eq!((a.0, &a.1), (b.0, &b.1));
            assert!(a.2.iter().zip(&b.2).all(|(x, y)| (x - y).abs() < 1e-9), "{a:?} {b:?}");
        }
    }
}
