use super::*;
use proptest::prelude::*;
use ringer_kernel::log::Record;

fn raw(object: u32, seq: u32, tsc: u64) -> Raw {
    Raw {
        who: 0,
        record: Record {
            object,
            seq,
            tsc,
            ..Record::default()
        },
    }
}

const BEFORE_ALL: Begin = Begin { tsc: 0, objects: 0 };
const AFTER_ALL: Begin = Begin { tsc: 0, objects: 9 };

fn merger(begin: Begin) -> Merger {
    Merger::new(begin, &Clock::nanoseconds())
}

/// `3:0` for record 0 of pipe#3, `3?2` for two that are missing.
fn tell(m: Merged) -> String {
    match m {
        Merged::Record(r) => format!("{}:{}", r.record.object, r.record.seq),
        Merged::Late(r) => format!("{}:{} late", r.record.object, r.record.seq),
        Merged::Gap {
            object, missing, ..
        } => format!("{object}?{missing}"),
    }
}

fn released(m: &mut Merger, now: u64) -> Vec<String> {
    let mut out = Vec::new();
    m.release(now, |r| out.push(tell(r)));
    out
}

fn finished(m: &mut Merger) -> Vec<String> {
    let mut out = Vec::new();
    m.finish(|r| out.push(tell(r)));
    out
}

#[test]
fn objects_are_mixed_by_time() {
    let mut m = merger(BEFORE_ALL);
    [raw(1, 0, 10), raw(1, 1, 30), raw(2, 0, 20)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(finished(&mut m), ["1:0", "2:0", "1:1"]);
}

#[test]
fn the_objects_own_order_wins_over_time() {
    let mut m = merger(BEFORE_ALL);
    [raw(1, 1, 10), raw(1, 0, 20), raw(0, 0, 15)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(finished(&mut m), ["0:0", "1:0", "1:1"]);
}

#[test]
fn young_records_are_held_back() {
    let mut m = merger(BEFORE_ALL);
    m.push(raw(1, 1, 2_000_000));
    assert!(released(&mut m, 2_500_000).is_empty());
    m.push(raw(1, 0, 1_999_000));
    assert_eq!(released(&mut m, 3_500_000), ["1:0", "1:1"]);
}

#[test]
fn a_missing_predecessor_is_waited_for_but_not_for_ever() {
    let mut m = merger(BEFORE_ALL);
    [raw(1, 0, 0), raw(1, 3, 10), raw(1, 4, 20)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(released(&mut m, 60_000_000), ["1:0"]);
    m.expect_losses();
    assert_eq!(released(&mut m, 60_000_000), ["1?2", "1:3", "1:4"]);
    m.push(raw(1, 2, 15));
    assert_eq!(
        released(&mut m, 70_000_000),
        ["1:2 late"],
        "late is better than never"
    );
    let mut patient = merger(BEFORE_ALL);
    patient.push(raw(1, 1, 10));
    assert!(released(&mut patient, 1_900_000_000).is_empty());
    assert_eq!(released(&mut patient, 2_100_000_000), ["1?1", "1:1"]);
}

#[test]
fn at_the_end_every_gap_is_counted() {
    let mut m = merger(BEFORE_ALL);
    [raw(1, 2, 1), raw(1, 5, 2), raw(2, 1, 3)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(finished(&mut m), ["1?2", "1:2", "1?2", "1:5", "2?1", "2:1"]);
}

#[test]
fn who_comes_late_begins_with_what_he_sees() {
    let mut m = merger(AFTER_ALL);
    [raw(1, 700, 1), raw(1, 701, 2)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(finished(&mut m), ["1:700", "1:701"]);
}

#[test]
fn what_is_newer_than_we_begins_with_zero() {
    let mut m = merger(AFTER_ALL);
    [raw(9, 5, 1), raw(10, 1, 2)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(finished(&mut m), ["9:5", "10?1", "10:1"]);
}

#[test]
fn numbers_may_wrap() {
    let mut m = merger(AFTER_ALL);
    [raw(1, u32::MAX, 1), raw(1, 1, 2), raw(1, 0, 3)]
        .into_iter()
        .for_each(|r| m.push(r));
    assert_eq!(
        finished(&mut m),
        [format!("1:{}", u32::MAX), "1:0".into(), "1:1".into()]
    );
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_and_each_objects_order_holds(
        records in prop::collection::vec((0u32..4, 0u64..100_000_000), 0..300),
        looks in prop::collection::vec(0u64..200_000_000, 0..20),
    ) {
        let mut m = merger(BEFORE_ALL);
        let mut next = [0u32; 4];
        let mut out = Vec::new();
        let mut looks = looks.into_iter();
        for (i, (object, tsc)) in records.iter().enumerate() {
            let seq = &mut next[*object as usize];
            m.push(raw(*object, *seq, *tsc));
            *seq += 1;
            if i % 20 == 19 {
                m.release(looks.next().unwrap_or(0), |r| out.push(r));
            }
        }
        m.finish(|r| out.push(r));
        let came = out.iter().filter(|m| matches!(m, Merged::Record(_) | Merged::Late(_))).count();
        prop_assert_eq!(came, records.len());
        // In order, but for objects that were given up waiting for.
        let mut seen = [0u32; 4];
        let mut gave_up = [true, false, false, false];
        for m in out {
            match m {
                Merged::Gap { object, .. } => gave_up[object as usize] = true,
                Merged::Late(r) => prop_assert!(gave_up[r.record.object as usize]),
                Merged::Record(r) => {
                    let object = r.record.object as usize;
                    prop_assert!(gave_up[object] || r.record.seq == seen[object]);
                    seen[object] += 1;
                }
            }
        }
    }
}
