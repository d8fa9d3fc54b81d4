//! What scripts say of flows.

use millstream::flow::{Attached, EndReason, EndedRecord, FlowCounter, FlowEvent, FlowHandle, Happening, Said};
use millstream::metrics::{CountedDirection, GroupIndex};
use millstream::time::Timestamp;

use crate::flow_support::{ACK, Run, ends, handshake, udp};

const ID: &[u8] = b"11A:0A.00.00.01:p-1388_0A.00.00.02:p-0035";

/// A run with the flow `ID` in its last batch.
fn with_flow() -> (Run, FlowHandle) {
    let mut run = Run::new();
    run.batch(&[udp((1, 5_000), (2, 53), b"x")]);
    let flow = run.flows.of_packet(0).unwrap().flow;
    (run, flow)
}

fn counter(key: &[u8]) -> FlowCounter {
    FlowCounter { group: GroupIndex(3), key: key.into(), meter: 0, direction: CountedDirection::Both }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 0)
}

#[test]
fn meters_of_a_flow_in_packets_are_added_to() {
    let (mut run, flow) = with_flow();
    for (meter, value) in
        [(0, 10.0), (1, 5.0), (3, 2.0), (5, 7.5), (6, 40.0), (6, 30.0), (7, 1.0), (9, 0.5), (9, 0.5), (40, 1.0)]
    {
        run.flows.update(ID, meter, value, at(5));
    }
    run.flows.update(ID, 1, f64::NAN, at(5));
    run.flows.update(ID, 1, -3.0, at(5));
    let record = run.flows.flow(flow).unwrap();
    assert_eq!((record.bytes, record.packets, record.payload), ([39, 2], [1, 2], [1, 7]));
    assert_eq!((record.setup_rtt, record.retransmissions, record.last), (30, 1, at(5)));
    assert_eq!(run.flows.meters(flow), [(9, 1.0)]);
    run.flows.set_duration(ID, 1.5, at(6));
    assert_eq!(run.flows.flow(flow).unwrap().first, Timestamp::new(3, 500_000_000));
    assert_eq!(run.flows.counts().script_records, 0);
}

/// The records that ended, as id and reason.
fn ended(run: &mut Run) -> Vec<(String, &'static str)> {
    let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
    run.flows.ended_records().map(|ended| (text(&ended.record.id), ended.reason.name())).collect()
}

#[test]
fn ids_in_no_packets_get_records() {
    let (mut run, _) = with_flow();
    run.flows.update(b"06C:any:text", 0, 100.0, at(10));
    run.flows.open_record(ID, at(10));
    run.flows.open_record(b"second", at(11));
    run.flows.tag(b"06C:any:text", b"t", at(12));
    run.flows.set_duration(b"06C:any:text", 4.0, at(12));
    run.flows.update(b"06C:any:text", 12, 2.0, at(20));
    run.flows.terminate(b"06C:any:text", at(20));
    let records: Vec<_> = run.flows.ended_records().collect();
    assert_eq!(records.len(), 1, "the second one goes on");
    let EndedRecord { record: first, reason, time } = &records[0];
    assert_eq!((&*first.id, reason.name(), *time), (&b"06C:any:text"[..], "script", at(20)));
    assert_eq!((first.flow.bytes, first.tags.as_slice()), ([100, 0], &b"t"[..]));
    assert_eq!((first.flow.first, first.flow.last), (at(16), at(20)));
    assert_eq!(first.meters, [(12, 2.0)]);
    assert!(first.flow.state & millstream::flow::state::TERMINATED != 0);
    run.flows.update(b"06C:any:text", 0, 1.0, at(21));
    run.flows.finish();
    let records: Vec<_> = run.flows.ended_records().collect();
    let ids: Vec<_> = records.iter().map(|ended| (&*ended.record.id, ended.reason.name())).collect();
    assert_eq!(ids, [(&b"second"[..], "end"), (b"06C:any:text", "end")], "in the order in which they were opened");
    assert_eq!(records[1].record.flow.bytes, [1, 0]);
    assert_eq!(run.flows.counts().script_records, 3);
}

#[test]
fn records_of_scripts_end_after_the_silence_of_their_protocol() {
    let mut run = Run::new();
    let tcp = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    run.flows.update(tcp.as_bytes(), 0, 1.0, at(0));
    run.flows.update(b"text", 0, 1.0, at(0));
    run.flows.expire(at(59));
    assert_eq!(ended(&mut run), []);
    run.flows.update(tcp.as_bytes(), 0, 1.0, at(60));
    run.flows.expire(at(60));
    assert_eq!(ended(&mut run), [("text".to_owned(), "idle")]);
    run.flows.expire(at(179));
    assert_eq!(ended(&mut run), []);
    run.flows.expire(at(180));
    let EndedRecord { record, reason, time } = run.flows.ended_records().next().unwrap();
    assert_eq!((reason.name(), time, record.flow.bytes), ("idle", at(180), [2, 0]));
    assert_eq!((record.flow.first, record.flow.last), (at(0), at(60)));
    assert!(record.flow.state & millstream::flow::state::TIMEDOUT != 0);
}

#[test]
fn records_of_scripts_end_when_a_second_begins_wherever_a_batch_ends() {
    let mut run = Run::new();
    let ms = |ms: i64| Timestamp::from_nanos(ms * 1_000_000);
    run.flows.update(b"text", 0, 1.0, ms(300));
    run.flows.expire(ms(60_350));
    assert_eq!(ended(&mut run), [], "what is said later in the second is still said of it");
    run.flows.update(b"text", 0, 1.0, ms(60_900));
    run.flows.expire(ms(61_000));
    assert_eq!(ended(&mut run), []);
    run.flows.expire(ms(121_000));
    assert_eq!(ended(&mut run), [("text".to_owned(), "idle")]);
}

#[test]
fn records_of_scripts_are_told_of_once_each_second_and_each_turn() {
    let mut run = Run::new();
    let told = |run: &mut Run, second| {
        let (mut opened, mut active, mut turns) = (0, 0, 0);
        run.flows.tell_opened_records(second, |_| opened += 1);
        run.flows.tell_active_records(second, |record| active += record.flow.bytes[0]);
        run.flows.tell_records_of_age(second, 300, |_| turns += 1);
        (opened, active, turns)
    };
    run.flows.update(b"a", 0, 1.0, at(10));
    run.flows.update(b"a", 0, 1.0, at(10));
    run.flows.update(b"b", 0, 5.0, at(11));
    run.flows.update(b"gone", 0, 5.0, at(11));
    run.flows.terminate(b"gone", at(11));
    assert_eq!(told(&mut run, 9), (0, 0, 0));
    assert_eq!(told(&mut run, 10), (1, 2, 0));
    assert_eq!(told(&mut run, 11), (1, 5, 0));
    assert_eq!(told(&mut run, 12), (0, 0, 0));
    assert_eq!((told(&mut run, 310), told(&mut run, 311), told(&mut run, 610)), ((0, 0, 1), (0, 0, 1), (0, 0, 1)));
    let untold: Vec<_> = run.flows.ended_records().map(|ended| !ended.record.is_told).collect();
    assert_eq!(untold, [true]);
}

#[test]
fn ages_of_records_are_told_after_seconds_nobody_asked_about() {
    let mut run = Run::new();
    let ids = |run: &mut Run, second| {
        let mut ids = Vec::new();
        run.flows.tell_records_of_age(second, 300, |record| ids.push(String::from_utf8_lossy(&record.id).into_owned()));
        ids.join(" ")
    };
    // Their places are those of records that ended; they are told of in the order in which they were opened.
    for id in ["x", "y"] {
        run.flows.update(id.as_bytes(), 0, 1.0, at(9));
    }
    for (gone, id) in [("x", "a"), ("y", "b")] {
        run.flows.terminate(gone.as_bytes(), at(9));
        run.flows.update(id.as_bytes(), 0, 1.0, at(10));
    }
    run.flows.update(b"c", 0, 1.0, at(11));
    assert_eq!([10, 11, 309].map(|second| ids(&mut run, second)), ["", "", ""]);
    assert_eq!([310, 310, 311].map(|second| ids(&mut run, second)), ["a b", "", "c"]);
    // As after a gap: a second in which none is due, and then those of one turn.
    assert_eq!([10_000, 10_210, 10_211, 10_212].map(|second| ids(&mut run, second)), ["", "a b", "c", ""]);
    run.flows.terminate(b"a", at(10_212));
    assert_eq!(ids(&mut run, 10_510), "b");
}

#[test]
fn many_flows_end_at_a_word_of_scripts_however_often_it_is_said() {
    const FLOWS: u32 = 50_000;
    let mut run = Run::new();
    let packets: Vec<_> = (0..FLOWS).map(|flow| udp((1, flow as u16 + 1_000), (2, 53), b"")).collect();
    let mut flows = Vec::new();
    for chunk in packets.chunks(200) {
        run.batch(chunk);
        flows.extend((0..chunk.len()).filter_map(|packet| run.flows.of_packet(packet)).map(|packet| packet.flow));
    }
    let id = |flow: u32| format!("11A:0A.00.00.01:p-{:04X}_0A.00.00.02:p-0035", flow + 1_000);
    for flow in (0..FLOWS).rev() {
        run.flows.terminate(id(flow).as_bytes(), at(0));
    }
    assert!(run.flows.has_terminated());
    for _ in 0..FLOWS {
        run.flows.terminate(id(0).as_bytes(), at(0));
    }
    run.flows.expire(at(1));
    let is_end = |event: &&FlowEvent| matches!(event.what, Happening::End { reason: EndReason::Script });
    let ended: Vec<_> = run.flows.events().list().iter().filter(is_end).map(|event| event.flow).collect();
    let named: Vec<_> = flows.into_iter().rev().collect();
    assert_eq!(ended.len(), named.len());
    assert!(ended == named, "each once, in the order in which it was said");
    assert_eq!(run.flows.counts().ended_script, u64::from(FLOWS));
}

#[test]
fn records_of_scripts_are_bounded_and_the_most_silent_one_makes_room() {
    let mut run = Run::new();
    for number in 0..65_536 {
        run.flows.update(format!("{number}").as_bytes(), 0, 1.0, at(number / 10_000));
        run.flows.terminate(b"none", at(0));
    }
    run.flows.update(b"0", 0, 1.0, at(7));
    assert_eq!(ended(&mut run), []);
    run.flows.update(b"one more", 0, 1.0, at(7));
    assert_eq!(ended(&mut run), [("1".to_owned(), "evicted")]);
    for _ in 0..200_000 {
        run.flows.update(b"short", 0, 1.0, at(7));
        run.flows.terminate(b"short", at(7));
        run.flows.ended_records().for_each(drop);
    }
    run.flows.finish();
    assert_eq!(run.flows.ended_records().count(), 65_535);
}

#[test]
fn tags_are_a_set_within_255_bytes() {
    let (mut run, flow) = with_flow();
    for tag in [&b"one"[..], b"two", b"one", b"a|b\r\n", b"", &[b'x'; 250], b"three"] {
        run.flows.tag(ID, tag, at(1));
    }
    assert_eq!(run.flows.tags(flow), b"one|two|a_b__|three");
    run.flows.tag(ID, &[b'y'; 255 - 20], at(1));
    assert_eq!(run.flows.tags(flow).len(), 255);
}

#[test]
fn what_is_said_of_a_flow_before_it_appears_waits_a_minute() {
    let mut run = Run::new();
    run.flows.tag(ID, b"early", at(0));
    assert_eq!(run.flows.add_counter(ID, counter(b"k"), at(0)), Attached::Waiting);
    run.batch(&[udp((1, 5_000), (2, 53), b"x").at(59_000)]);
    let flow = run.flows.of_packet(0).unwrap().flow;
    assert_eq!(run.flows.tags(flow), b"early");
    assert_eq!(run.flows.counters(flow), [counter(b"k")]);
    let mut late = Run::new();
    late.flows.tag(ID, b"early", at(0));
    late.batch(&[udp((1, 5_000), (2, 53), b"x").at(60_000)]);
    let flow = late.flows.of_packet(0).unwrap().flow;
    assert_eq!(late.flows.tags(flow), b"");
    assert_eq!(late.flows.counts().statements_expired, 1);
}

#[test]
fn a_counter_is_attached_once_and_there_are_at_most_64() {
    let (mut run, flow) = with_flow();
    assert_eq!(run.flows.add_counter(ID, counter(b"k"), at(0)), Attached::Added(flow));
    assert_eq!(run.flows.add_counter(ID, counter(b"k"), at(0)), Attached::Known);
    for i in 0..63u8 {
        assert_eq!(run.flows.add_counter(ID, counter(&[i]), at(0)), Attached::Added(flow));
    }
    assert_eq!(run.flows.add_counter(ID, counter(b"z"), at(0)), Attached::Full);
    assert_eq!(run.flows.counts().statements_refused, 1);
    run.flows.reset_counters(ID, GroupIndex(4));
    assert_eq!(run.flows.counters(flow).len(), 64);
    run.flows.reset_counters(ID, GroupIndex(3));
    assert_eq!(run.flows.counters(flow), []);
}

#[test]
fn what_is_said_of_no_possible_flow_is_refused() {
    let (mut run, _) = with_flow();
    run.flows.tag(&[b'x'; 257], b"t", at(0));
    run.flows.update(&[b'x'; 257], 0, 1.0, at(0));
    assert_eq!((run.flows.counts().statements_refused, run.flows.counts().script_records), (2, 0));
}

#[test]
fn statements_wait_for_so_many_flows() {
    let (mut run, _) = with_flow();
    for number in 0..=65_536u32 {
        run.flows.tag(format!("06C:{number}").as_bytes(), b"t", at(0));
    }
    assert_eq!(run.flows.counts().statements_refused, 1);
}

#[test]
fn statements_take_so_many_bytes() {
    let (mut run, flow) = with_flow();
    let mut said = 0;
    while run.flows.counts().statements_refused == 0 {
        assert!(said < 100, "64 MiB are not the limit");
        let id = format!("06C:{said}");
        for number in 0..64u8 {
            run.flows.add_counter(id.as_bytes(), counter(&[&[number][..], &[0; 16 << 10]].concat()), at(0));
        }
        said += 1;
    }
    let refused = run.flows.counts().statements_refused;
    assert!(said > 60, "{said} MiB were too many");
    assert_eq!(run.flows.add_counter(ID, counter(b"k"), at(0)), Attached::Full);
    run.flows.tag(ID, b"t", at(0));
    assert_eq!((run.flows.tags(flow), run.flows.counters(flow)), (&b""[..], &[][..]));
    assert_eq!(run.flows.counts().statements_refused, refused + 2);
}

#[test]
fn records_that_end_and_are_not_fetched_are_lost_beyond_a_limit() {
    let (mut run, _) = with_flow();
    for number in 0..131_074u32 {
        run.flows.open_record(format!("06C:{number}").as_bytes(), at(0));
    }
    // As many are open, and as many have ended because others came.
    assert_eq!((run.flows.ended_records().count(), run.flows.counts().statements_refused), (65_536, 2));
}

#[test]
fn a_flow_in_packets_ends_with_the_next_batch_when_a_script_says_so() {
    let (mut run, flow) = with_flow();
    run.flows.settle();
    run.flows.terminate(ID, at(0));
    run.flows.terminate(ID, at(0));
    run.flows.terminate(b"unknown", at(0));
    assert!(run.flows.flow(flow).is_some());
    let events = run.feed(&[udp((7, 1), (8, 2), b"")]);
    assert_eq!(events, ["0 end script", "1 new"]);
    assert!(run.flows.flow(flow).is_none());
}

#[test]
fn a_terminated_connection_does_not_come_back_with_its_next_packet() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    run.flows.terminate(b"06A:0A.00.00.01:p-9C40_0A.00.00.02:p-0050", at(0));
    assert_eq!(run.feed(&[client.send(&mut server, ACK, b"more")]), ["0 end script"]);
}

#[test]
fn what_scripts_say_is_gone_with_the_flow() {
    let (mut run, flow) = with_flow();
    run.flows.tag(ID, b"t", at(0));
    run.flows.settle();
    run.feed(&[udp((1, 5_000), (2, 53), b"x").at(100_000)]);
    assert_eq!(run.flows.tags(flow), b"");
    let new = run.flows.of_packet(0).unwrap().flow;
    assert_eq!(run.flows.tags(new), b"");
}

#[test]
fn what_is_said_of_a_flow_behind_its_end_makes_no_record_of_another() {
    let (mut run, flow) = with_flow();
    run.flows.expect_words();
    run.flows.settle();
    run.flows.expire(at(100));
    assert_eq!(run.flows.update(ID, 0, 1.0, at(100)), Said::Taken, "its record is not made yet");
    let last = run.flows.flow(flow).unwrap().last;
    assert_eq!(run.flows.end_of(ID), None);
    run.flows.report(flow);
    run.flows.settle();
    assert!(run.flows.flow(flow).is_none());
    assert_eq!(run.flows.end_of(ID), Some(last));
    assert_eq!(run.flows.update(ID, 0, 1.0, at(101)), Said::Late);
    assert_eq!(run.flows.set_duration(ID, 1.0, at(101)), Said::Late);
    run.flows.open_record(ID, at(101));
    assert_eq!(run.flows.tag(ID, b"late", at(101)), Said::Late);
    assert_eq!(run.flows.counts().script_records, 0);
    // Another one between the same ends: what waits for such a flow reaches it, as ever.
    run.batch(&[udp((1, 5_000), (2, 53), b"x").at(102_000)]);
    let next = run.flows.of_packet(0).unwrap().flow;
    assert_eq!(run.flows.end_of(ID), None);
    assert_eq!(run.flows.update(ID, 0, 1.0, at(102)), Said::Taken);
    assert_eq!(run.flows.tags(next), b"late");
    assert_eq!(run.flows.counts().script_records, 0);
}

#[test]
fn a_closed_connection_that_is_still_known_takes_no_more_words() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    let id = b"06A:0A.00.00.01:p-9C40_0A.00.00.02:p-0050";
    run.flows.expect_words();
    run.batch(&handshake(&mut client, &mut server));
    let flow = run.flows.of_packet(0).unwrap().flow;
    run.flows.terminate(id, at(0));
    run.flows.settle();
    run.flows.expire(at(0));
    run.flows.report(flow);
    run.flows.settle();
    assert!(run.flows.flow(flow).is_some(), "late packets are still its packets");
    assert_eq!(run.flows.tag(id, b"late", at(1)), Said::Late);
    assert_eq!(run.flows.update(id, 1, 5.0, at(1)), Said::Late);
    assert_eq!(run.flows.tags(flow), b"");
}

#[test]
fn a_flow_that_ended_long_ago_is_unknown() {
    let (mut run, flow) = with_flow();
    run.flows.expect_words();
    run.flows.settle();
    run.flows.expire(at(100));
    run.flows.report(flow);
    run.flows.settle();
    run.flows.expire(at(400));
    assert_eq!(run.flows.update(ID, 0, 7.0, at(400)), Said::Taken);
    assert_eq!(run.flows.counts().script_records, 1);
}
