//! Every step against a naive twin, with random records and random chains of steps.

use std::collections::HashSet;

use millstream::api::t_gears;
use millstream::lua::{Budget, Vm, VmOptions};
use mlua::{Function, Table};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::test_runner::Config;

#[derive(Clone, Debug)]
enum Step {
    Map,
    MapToNil,
    Filter,
    Foreach,
    FlatMap,
    Accumulate,
    Aggregate,
    Avg,
    GroupBy(i64),
    AggregateBy(i64),
    CountBy(i64),
    SortUp,
    SortDown,
    Distinct,
    DistinctBy(i64),
    Limit(usize, usize),
}

/// Records are whole numbers; what groups gives `key * 1000 + value` again.
const AGAIN: &str = "{ kind = 'map', f = function(r) return r.key * 1000 + r.value end }";

impl Step {
    fn lua(&self) -> String {
        match self {
            Self::Map => "{ kind = 'map', f = function(r) return r * 3 + 1 end }".into(),
            Self::MapToNil => "{ kind = 'map', f = function(r) if r % 4 ~= 0 then return r end end }".into(),
            Self::Filter => "{ kind = 'filter', f = function(r) return r % 3 ~= 1 end }".into(),
            Self::Foreach => "{ kind = 'foreach', f = function(r) return 99 end }".into(),
            Self::FlatMap => "{ kind = 'flatmap', f = function(r) if r % 5 == 0 then return r end local l = {} \
                 for i = 1, r % 5 - 1 do l[i] = r + i end return l end }"
                .into(),
            Self::Accumulate => "{ kind = 'accumulate', f = function(a, r) return (a or 0) + r end }".into(),
            Self::Aggregate => "{ kind = 'aggregate', zero = { n = 7 }, f = function(a, r) a.n = a.n + r return a end, \
                 g = function(a, b) return { n = a.n * 2 + b.n } end }, { kind = 'map', f = function(r) return r.n end }"
                .into(),
            Self::Avg => "{ kind = 'avg', f = function(r) return r * 2 end }, \
                 { kind = 'map', f = function(r) return math.floor(r) end }"
                .into(),
            Self::GroupBy(n) => format!(
                "{{ kind = 'groupby', f = function(r) return r % {n} end, \
                 g = function(k, a, r) return (a or k) + r % 7 end }}, {AGAIN}"
            ),
            Self::AggregateBy(n) => format!(
                "{{ kind = 'aggregateby', f = function(r) if r % 6 ~= 5 then return r % {n} end end, zero = 2, \
                 g = function(k, a, r) return a + 1 end, h = function(k, a, b) return a + b * 2 end }}, {AGAIN}"
            ),
            Self::CountBy(n) => format!("{{ kind = 'countby', f = function(r) return r % {n} end }}, {AGAIN}"),
            Self::SortUp => "{ kind = 'sort' }".into(),
            // By a part of the record only: equal ones keep their order.
            Self::SortDown => "{ kind = 'sort', f = function(a, b) return a % 10 > b % 10 end }".into(),
            Self::Distinct => "{ kind = 'distinct' }".into(),
            Self::DistinctBy(n) => format!("{{ kind = 'distinct', f = function(r) return r % {n} end }}"),
            Self::Limit(count, start) => format!("{{ kind = 'limit', count = {count}, start = {start} }}"),
        }
    }

    fn twin(&self, records: Vec<i64>) -> Vec<i64> {
        let keys = |n: i64| {
            let mut keys: Vec<i64> = Vec::new();
            records.iter().map(|r| r.rem_euclid(n)).for_each(|key| {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            });
            keys
        };
        let of = |n: i64, key: i64| records.iter().filter(move |r| r.rem_euclid(n) == key);
        match self {
            Self::Map => records.into_iter().map(|r| r * 3 + 1).collect(),
            Self::MapToNil => records.into_iter().filter(|r| r.rem_euclid(4) != 0).collect(),
            Self::Filter => records.into_iter().filter(|r| r.rem_euclid(3) != 1).collect(),
            Self::Foreach => records,
            Self::FlatMap => records
                .into_iter()
                .flat_map(|r| match r.rem_euclid(5) {
                    0 => vec![r],
                    n => (1..n).map(|i| r + i).collect(),
                })
                .collect(),
            Self::Accumulate if records.is_empty() => records,
            Self::Accumulate => vec![records.iter().sum()],
            Self::Aggregate if records.is_empty() => records,
            Self::Aggregate => vec![14 + 7 + records.iter().sum::<i64>()],
            Self::Avg if records.is_empty() => records,
            Self::Avg => {
                let mean = records.iter().map(|r| (r * 2) as f64).sum::<f64>() / records.len() as f64;
                vec![mean.floor() as i64]
            }
            Self::GroupBy(n) => keys(*n)
                .into_iter()
                .map(|key| key * 1000 + key + of(*n, key).map(|r| r.rem_euclid(7)).sum::<i64>())
                .collect(),
            Self::AggregateBy(n) => {
                let kept: Vec<i64> = records.into_iter().filter(|r| r.rem_euclid(6) != 5).collect();
                let mut out: Vec<(i64, i64)> = Vec::new();
                for record in kept {
                    let key = record.rem_euclid(*n);
                    match out.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, count)) => *count += 1,
                        None => out.push((key, 3)),
                    }
                }
                out.into_iter().map(|(key, count)| key * 1000 + 2 + count * 2).collect()
            }
            Self::CountBy(n) => keys(*n).into_iter().map(|key| key * 1000 + of(*n, key).count() as i64).collect(),
            Self::SortUp => {
                let mut records = records;
                records.sort_unstable();
                records
            }
            Self::SortDown => {
                let mut records = records;
                records.sort_by_key(|r| std::cmp::Reverse(r.rem_euclid(10)));
                records
            }
            Self::Distinct => {
                let mut seen = HashSet::new();
                records.into_iter().filter(|r| seen.insert(*r)).collect()
            }
            Self::DistinctBy(n) => {
                let mut seen = HashSet::new();
                records.into_iter().filter(|r| seen.insert(r.rem_euclid(*n))).collect()
            }
            Self::Limit(count, start) => records.into_iter().skip(*start).take(*count).collect(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Map),
        Just(Step::MapToNil),
        Just(Step::Filter),
        Just(Step::Foreach),
        Just(Step::FlatMap),
        Just(Step::Accumulate),
        Just(Step::Aggregate),
        Just(Step::Avg),
        (1i64..9).prop_map(Step::GroupBy),
        (1i64..9).prop_map(Step::AggregateBy),
        (1i64..9).prop_map(Step::CountBy),
        Just(Step::SortUp),
        Just(Step::SortDown),
        Just(Step::Distinct),
        (1i64..9).prop_map(Step::DistinctBy),
        (0usize..20, 0usize..5).prop_map(|(count, start)| Step::Limit(count, start)),
    ]
}

/// A VM as a worker has it.
fn worker() -> (Vm, Table) {
    let options = VmOptions { name: "steps.lua".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() };
    let vm = Vm::new(&options).unwrap();
    let t = vm.lua().create_table().unwrap();
    t_gears::install_for_worker(vm.lua(), &t).unwrap();
    vm.lua().globals().set("T", &t).unwrap();
    (vm, t)
}

fn run(vm: &Vm, steps: &str, limit: u64, records: &[i64]) -> Table {
    let text = format!(
        "local list = ... return T.gears.execute({{ reader = 'x', limit = {limit}, steps = {{ {steps} {{ kind = 'collect' }} }} }}, list)"
    );
    let chunk: Function = vm.load(text.as_bytes(), "@steps.lua").unwrap();
    vm.call(&chunk, vm.lua().create_sequence_from(records.iter().copied()).unwrap(), Budget { limit: None, slow: None })
        .unwrap()
}

#[test]
fn any_chain_of_steps_does_what_its_naive_twin_does() {
    let (vm, _t) = worker();
    let chains = (proptest::collection::vec(step(), 0..6), proptest::collection::vec(-40i64..40, 0..60));
    proptest!(Config::with_cases(600), |((steps, records) in chains)| {
        let text: String = steps.iter().map(|step| step.lua() + ", ").collect();
        let answer = run(&vm, &text, 100_000, &records);
        let results: Vec<f64> = answer.get("results").unwrap();
        let expected = steps.iter().fold(records.clone(), |records, step| step.twin(records));
        let results: Vec<i64> = results.into_iter().map(|r| r as i64).collect();
        proptest::prop_assert_eq!(results, expected);
        proptest::prop_assert_eq!(answer.get::<Table>("errors").unwrap().raw_len(), 0);
    });
}

#[test]
fn a_record_at_which_a_step_fails_is_told_and_the_others_go_on() {
    let (vm, _t) = worker();
    let bad = "\nfunction(r) if r == 3 then error('three') end return r end";
    let both = "function(k, a, r) if r == 3 then error('three') end return (a or 0) + 1 end";
    for (steps, at, results) in [
        (format!("{{ kind = 'map', f = {bad} }},"), 1, 4),
        (format!("{{ kind = 'foreach', f = function() end }}, {{ kind = 'filter', f = {bad} }},"), 2, 4),
        (format!("{{ kind = 'foreach', f = {bad} }},"), 1, 4),
        (format!("{{ kind = 'flatmap', f = {bad} }},"), 1, 4),
        (
            format!(
                "{{ kind = 'accumulate', f = function(a, r) {} end }},",
                "if r == 3 then error('three') end return r"
            ),
            1,
            1,
        ),
        (
            format!(
                "{{ kind = 'aggregate', zero = 0, f = function(a, r) {} end }},",
                "if r == 3 then error('three') end return r"
            ),
            1,
            1,
        ),
        (format!("{{ kind = 'avg', f = {bad} }},"), 1, 1),
        (format!("{{ kind = 'groupby', f = function(r) return r end, g = {both} }},"), 1, 4),
        (format!("{{ kind = 'aggregateby', zero = 0, f = function(r) return r end, g = {both} }},"), 1, 4),
        (format!("{{ kind = 'countby', f = {bad} }},"), 1, 4),
        (format!("{{ kind = 'distinct', f = {bad} }},"), 1, 4),
        (format!("{{ kind = 'sort' }}, {{ kind = 'map', f = {bad} }},"), 2, 4),
    ] {
        let answer = run(&vm, &steps, 100, &[1, 2, 3, 4, 5]);
        let errors: Vec<Table> = answer.get("errors").unwrap();
        assert_eq!(errors.len(), 1, "{steps}");
        assert_eq!(errors[0].get::<i64>("step").unwrap(), at, "{steps}");
        let message: String = errors[0].get("message").unwrap();
        assert!(message.starts_with("steps.lua:") && message.ends_with("three"), "{steps}: {message}");
        assert_eq!(answer.get::<Table>("results").unwrap().raw_len(), results, "{steps}");
    }
}

#[test]
fn what_gathers_holds_no_more_than_its_limit_and_the_rest_is_counted() {
    let (vm, _t) = worker();
    for (steps, results) in [
        ("{ kind = 'countby', f = function(r) return r end },", 3),
        ("{ kind = 'groupby', f = function(r) return r end, g = function(k, a, r) return 1 end },", 3),
        ("{ kind = 'sort' },", 3),
        ("{ kind = 'distinct' },", 3),
        ("", 3),
    ] {
        let answer = run(&vm, steps, 3, &[1, 2, 3, 4, 5, 1]);
        assert_eq!(answer.get::<Table>("results").unwrap().raw_len(), results, "{steps}");
        let numbers: Table = answer.get("numbers").unwrap();
        assert!(numbers.get::<f64>(3).unwrap() >= 2.0, "{steps}");
    }
}

#[test]
fn a_sort_that_contradicts_itself_loses_nothing() {
    let (vm, _t) = worker();
    let records: Vec<i64> = (0..97).collect();
    let answer = run(&vm, "{ kind = 'sort', f = function(a, b) return true end },", 1_000, &records);
    let mut results: Vec<i64> = answer.get::<Vec<f64>>("results").unwrap().into_iter().map(|r| r as i64).collect();
    results.sort_unstable();
    assert_eq!(results, records);
}
