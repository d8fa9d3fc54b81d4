//! Every question, asked several times.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use millstream::sink::store_query::{
    Answer, FlowOrder, KeysQuery, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, alerts, documents, edges,
    flows, keys, resources, runs, search, series, top,
};
use millstream::time::{Stopwatch, Timestamp};

use super::fill::{BEGIN, MINUTES};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_millis(100);

/// A question, by the name of the command and what is special about it.
type Question<'a> = (&'static str, Box<dyn Fn(&Reader) -> Result<Answer, QueryError> + 'a>);

fn at(minute: i64) -> Option<Timestamp> {
    Some(Timestamp::new(BEGIN + minute * 60 + 7, 0))
}

/// Asks everything; the number of questions whose answers took too long.
pub fn all(out: &mut impl Write, file: &Path) -> io::Result<usize> {
    let mut slow = 0;
    for (name, ask) in questions() {
        let mut times: Vec<Duration> = Vec::new();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            // As the program does it: opened for every question.
            let watch = Stopwatch::start();
            let answer = Reader::open(file).and_then(|reader| ask(&reader)).map_err(io::Error::other)?;
            times.push(watch.elapsed());
            rows = answer.rows.len();
        }
        let first = times.remove(0);
        times.sort();
        let median = times[times.len() / 2];
        let mark = if median > LIMIT { " TOO SLOW" } else { "" };
        slow += usize::from(median > LIMIT);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(out, "{name}: rows={rows} first_ms={:.1} median_ms={:.1}{mark}", millis(first), millis(median))?;
    }
    Ok(slow)
}

fn questions() -> Vec<Question<'static>> {
    let all = RecordsQuery { limit: 20, ..RecordsQuery::default() };
    let range = |from, to| RecordsQuery { from: at(from), to: at(to), limit: 20, ..RecordsQuery::default() };
    let (most, some, minute) = (range(100, MINUTES - 100), range(2_000, 2_600), range(2_000, 2_001));
    let group = || "Things".to_owned();
    let of = move |query: &RecordsQuery| (query.from, query.to);
    let mut found: Vec<Question<'static>> = Vec::new();
    for (span, query) in
        [("everything", all.clone()), ("most", most.clone()), ("ten hours", some), ("a minute", minute)]
    {
        let name = |question: &str| -> &'static str { format!("{question}, {span}").leak() };
        let (from, to) = of(&query);
        found.push((
            name("query top"),
            Box::new(move |r| top(r, &TopQuery { group: group(), from, to, limit: 20, ..TopQuery::default() })),
        ));
        found.push((
            name("query keys"),
            Box::new(move |r| keys(r, &KeysQuery { group: group(), from, to, limit: 20, ..KeysQuery::default() })),
        ));
        let containing = Some("0.01".to_owned());
        found.push((
            name("query keys, a part"),
            Box::new(move |r| {
                let query = KeysQuery { group: group(), containing: containing.clone(), from, to, limit: 20 };
                keys(r, &query)
            }),
        ));
        for (what, key, limit) in [
            ("a key", Some("01.00.00.01"), 10_000),
            ("a key by the hour", Some("01.00.00.01"), 1_000),
            ("all", None, 10_000),
        ] {
            let key = key.map(str::to_owned);
            found.push((
                name(format!("query series, {what}").leak()),
                Box::new(move |r| {
                    let query = SeriesQuery { group: group(), key: key.clone(), meter: None, from, to, limit };
                    series(r, &query)
                }),
            ));
        }
        for (what, order) in [("by bytes", FlowOrder::Bytes), ("by time", FlowOrder::Time)] {
            let query = query.clone();
            found.push((name(format!("query flows {what}").leak()), Box::new(move |r| flows(r, &query, order))));
        }
        let queries = [query.clone(), query.clone(), query.clone(), query.clone(), query.clone()];
        let [a, b, c, d, e] = queries;
        found.push((name("query alerts"), Box::new(move |r| alerts(r, &a))));
        found.push((name("query resources"), Box::new(move |r| resources(r, &b))));
        found.push((name("query docs"), Box::new(move |r| documents(r, &c))));
        found.push((name("query edges"), Box::new(move |r| edges(r, &d))));
        found.push((name("query runs"), Box::new(move |r| runs(r, &e))));
        for words in ["rare", "third", "mozilla", "third rare", "host-77.example.com", "word9*", "\"text html\""] {
            found.push((name(format!("search {words}").leak()), Box::new(move |r| search(r, words, from, to, 20))));
        }
    }
    found
}
