use std::fs;

use conveyor_model::ErrorKind;
use conveyor_model::limits;
use proptest::prelude::*;

use super::*;
use crate::log::FsLog;
use crate::log::MemoryLog;

const PATH: &str = "/h/sessions/2026/11/22/rollout-x.jsonl";
const META: &str = concat!(
    r#"{"timestamp":"2026-11-22T14:00:00.000Z","ordinal":0,"type":"session_meta","payload":"#,
    r#"{"id":"01a203ae-04ca-7370-9952-c3bf08534c3d","cli_version":"0.169.0","cwd":"/repo"}}"#,
    "\n"
);

/// Record number `n` of a thread, written in second `n`.
fn line(n: u64) -> String {
    let payload = format!(r#"{{"type":"agent_message","message":"m{n}"}}"#);
    format!(
        "{{\"timestamp\":\"2026-11-22T14:{:02}:{:02}.000Z\",\"ordinal\":{n},\"type\":\"event_msg\",\"payload\":{payload}}}\n",
        n / 60,
        n % 60
    )
}

fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers.map(line).collect()
}

/// The same, as versions up to 0.144 write it.
fn without_ordinals(text: &str) -> String {
    let mut legacy = String::new();
    for line in text.split_inclusive('\n') {
        let (before, after) = line.split_once("\"ordinal\":").unwrap();
        legacy.push_str(before);
        legacy.push_str(after.split_once(',').unwrap().1);
    }
    legacy
}

fn follower(log: &MemoryLog, position: Option<Position>) -> Follower<'_> {
    Follower::open(log, Path::new(PATH), position).unwrap()
}

fn drain(follower: &mut Follower<'_>) -> Vec<Batch> {
    std::iter::from_fn(|| follower.next_batch(1_000).unwrap()).collect()
}

fn texts(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| &batch.events).filter_map(|event| event.text.clone()).collect()
}

/// What a program that restarts before each reading gets after `before` was read and `change` was made.
fn after_change(before: &str, change: impl FnOnce(&MemoryLog)) -> (Vec<String>, Option<Resync>) {
    let log = MemoryLog::default();
    log.append(PATH, before.as_bytes());
    let mut first = follower(&log, None);
    drain(&mut first);
    change(&log);
    let mut second = follower(&log, Some(first.position().clone()));
    let batches = drain(&mut second);
    let same = drain(&mut first);
    assert_eq!(texts(&batches), texts(&same), "a follower that went on sees the same");
    assert!(drain(&mut follower(&log, Some(second.position().clone()))).is_empty(), "nothing comes twice");
    (texts(&batches), batches.first().and_then(|batch| batch.resync))
}

#[test]
fn each_batch_says_what_it_read() {
    let log = MemoryLog::default();
    let text = format!("{META}{}\n{{\n", lines(1..=2));
    log.append(PATH, text.as_bytes());
    log.append(PATH, b"{\"type\":\"holo");
    let mut follower = follower(&log, None);
    let batch = follower.next_batch(100).unwrap().unwrap();
    assert_eq!(batch.range, 0..text.len() as u64);
    assert_eq!(batch.sha256, hex(Sha256::digest(text.as_bytes())));
    assert_eq!(batch.bad, BadLines { blank: 1, not_json: 1, ..BadLines::default() });
    assert_eq!(batch.position.thread_id.as_deref(), Some("01a203ae-04ca-7370-9952-c3bf08534c3d"));
    assert_eq!((batch.position.offset, batch.position.last_ordinal), (text.len() as u64, Some(2)));
    assert!(follower.next_batch(100).unwrap().is_none(), "half a line is not read");
    log.append(PATH, b"gram\"}\r\n");
    let batch = follower.next_batch(100).unwrap().unwrap();
    assert_eq!(batch.range.start, text.len() as u64);
    assert_eq!(batch.unknown, BTreeMap::from([("0.169.0".to_owned(), 1)]));
}

#[test]
fn skipped_lines_at_the_end_are_counted_once() {
    let log = MemoryLog::default();
    log.append(PATH, format!("{META}nonsense\n").as_bytes());
    let mut first = follower(&log, None);
    assert_eq!(drain(&mut first)[0].bad.total(), 1);
    assert!(drain(&mut follower(&log, Some(first.position().clone()))).is_empty());
}

#[test]
fn a_batch_ends_at_the_asked_number_of_lines() {
    let log = MemoryLog::default();
    log.append(PATH, format!("{META}{}", lines(1..=9)).as_bytes());
    let mut follower = follower(&log, None);
    let sizes: Vec<_> =
        std::iter::from_fn(|| follower.next_batch(4).unwrap()).map(|b| b.events.len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
}

#[test]
fn leaps_in_the_ordinals_are_told_and_a_fork_may_begin_anywhere() {
    let log = MemoryLog::default();
    log.append(PATH, [line(28), line(29), line(33)].concat().as_bytes());
    let batches = drain(&mut follower(&log, None));
    assert_eq!(
        (batches[0].gaps.as_slice(), batches[0].gap_count),
        ([Gap { after: 29, found: 33 }].as_slice(), 1)
    );
}

#[test]
fn growth_is_read_once() {
    let (texts, resync) =
        after_change(&format!("{META}{}", lines(1..=3)), |log| log.append(PATH, lines(4..=5).as_bytes()));
    assert_eq!((texts, resync), (vec!["m4".to_owned(), "m5".to_owned()], None));
}

#[test]
fn a_replaced_file_is_found_again_by_ordinal() {
    let whole = format!("{META}{}", lines(1..=5));
    let (texts, resync) =
        after_change(&format!("{META}{}", lines(1..=3)), |log| log.replace(PATH, whole.as_bytes()));
    assert_eq!((texts, resync), (vec!["m4".to_owned(), "m5".to_owned()], Some(Resync::Replaced)));
}

#[test]
fn a_file_rewritten_in_place_is_noticed_by_the_bytes_before_the_position() {
    let whole = format!("{}{}", META.replace("/repo", "/another/repository"), lines(1..=5));
    let (texts, resync) =
        after_change(&format!("{META}{}", lines(1..=3)), |log| log.rewrite(PATH, whole.as_bytes()));
    assert_eq!((texts, resync), (vec!["m4".to_owned(), "m5".to_owned()], Some(Resync::Rewritten)));
}

#[test]
fn a_truncated_file_that_goes_on_uses_its_ordinals_again() {
    let before = format!("{META}{}", lines(1..=5));
    let keep = META.len() + lines(1..=2).len();
    let again = line(9).replace("\"ordinal\":9", "\"ordinal\":3");
    let (texts, resync) = after_change(&before, |log| {
        log.truncate(PATH, keep);
        log.append(PATH, again.as_bytes());
    });
    assert_eq!((texts, resync), (vec!["m9".to_owned()], Some(Resync::Truncated)));
}

#[test]
fn a_truncated_file_alone_is_no_error_and_nothing_new() {
    let before = format!("{META}{}", lines(1..=5));
    let (texts, resync) = after_change(&before, |log| log.truncate(PATH, META.len() + 10));
    assert_eq!((texts, resync), (Vec::<String>::new(), Some(Resync::Truncated)));
    let (texts, _) = after_change(&before, |log| log.truncate(PATH, 0));
    assert_eq!(texts, Vec::<String>::new());
}

#[test]
fn a_migrated_file_is_found_again_by_time() {
    let before = without_ordinals(&format!("{META}{}", lines(1..=3)));
    assert!(!before.contains("ordinal"));
    let (texts, resync) =
        after_change(&before, |log| log.replace(PATH, format!("{META}{}", lines(1..=4)).as_bytes()));
    assert_eq!((texts, resync), (vec!["m4".to_owned()], Some(Resync::Replaced)));
}

#[test]
fn records_of_one_millisecond_are_neither_lost_nor_doubled_by_a_replacement() {
    let at_once = |text: &str| line(1).replace("m1", text).replace("\"ordinal\":1,", "");
    let before = [at_once("a"), at_once("b")].concat();
    let (texts, _) =
        after_change(&before, |log| log.replace(PATH, format!("{before}{}", at_once("c")).as_bytes()));
    assert_eq!(texts, ["c"]);
}

#[test]
fn catching_up_survives_a_restart_between_two_batches() {
    let log = MemoryLog::default();
    log.append(PATH, format!("{META}{}", lines(1..=9)).as_bytes());
    let mut first = follower(&log, None);
    drain(&mut first);
    log.replace(PATH, format!("{META}{}", lines(1..=11)).as_bytes());
    let (mut position, mut found) = (first.position().clone(), Vec::new());
    while let Some(batch) = follower(&log, Some(position.clone())).next_batch(3).unwrap() {
        found.extend(texts(std::slice::from_ref(&batch)));
        position = batch.position;
    }
    assert_eq!(found, ["m10", "m11"]);
}

#[test]
fn another_threads_file_under_the_same_name_is_refused() {
    let log = MemoryLog::default();
    log.append(PATH, META.as_bytes());
    let mut first = follower(&log, None);
    drain(&mut first);
    log.replace(PATH, META.replace("01a203ae", "01a203af").as_bytes());
    let error = follower(&log, Some(first.position().clone())).next_batch(9).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rollout);
    assert!(error.message.contains("01a203af-04ca-7370-9952-c3bf08534c3d"), "{error}");
}

#[test]
fn a_line_of_fifty_megabytes_is_passed_over_in_bounded_memory() {
    let log = MemoryLog::default();
    let part = "x".repeat(5 * 1024 * 1024);
    let mut follower = follower_of_long(&log, &part);
    let mut batches = drain(&mut follower);
    assert_eq!(texts(&batches), ["m1"], "what stands before it is not held back");
    for _ in 0..9 {
        log.append(PATH, part.as_bytes());
        assert!(drain(&mut follower).is_empty());
        assert!(follower.lines.buffer_bytes() < 24 * 1024 * 1024);
    }
    log.append(PATH, format!("\n{}", line(2)).as_bytes());
    batches.extend(drain(&mut follower));
    assert_eq!(texts(&batches), ["m1", "m2"]);
    assert_eq!(batches.iter().map(|batch| batch.bad.too_long).sum::<u64>(), 1);
    let total = batches.last().unwrap().range.end;
    assert_eq!(total, (line(1).len() + line(2).len() + 50 * 1024 * 1024 + 1) as u64);
    assert!(batches.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
}

fn follower_of_long<'a>(log: &'a MemoryLog, part: &str) -> Follower<'a> {
    log.append(PATH, format!("{}{part}", line(1)).as_bytes());
    follower(log, None)
}

#[test]
fn a_line_just_within_the_limit_is_a_record() {
    let log = MemoryLog::default();
    let frame = r#"{"type":"event_msg","payload":{"type":"agent_message","message":""}}"#.len() + 1;
    for (length, is_record) in [(limits::ROLLOUT_LINE_BYTES, true), (limits::ROLLOUT_LINE_BYTES + 1, false)] {
        let message = "x".repeat(length - frame);
        let line = format!(
            "{{\"type\":\"event_msg\",\"payload\":{{\"type\":\"agent_message\",\"message\":\"{message}\"}}}}\n"
        );
        log.rewrite(PATH, line.as_bytes());
        let batches = drain(&mut follower(&log, None));
        assert_eq!(
            (batches[0].events.len(), batches[0].bad.too_long),
            (usize::from(is_record), u64::from(!is_record))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the file grows, and however often the reader restarts, the events, and the digests, are the same.
    #[test]
    fn any_chunking_of_growth_gives_the_same_events(
        cuts in prop::collection::vec(0_usize..5_000, 0..12),
        restart in any::<u16>(),
        max_lines in 1_usize..20,
    ) {
        let text = format!("{META}{}junk\r\n\n{}", lines(1..=12), lines(13..=20));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % text.len()).chain([text.len()]).collect();
        cuts.sort_unstable();
        let log = MemoryLog::default();
        log.append(PATH, b"");
        let mut position = None;
        let (mut events, mut bad, mut written, mut end) = (Vec::new(), 0, 0, 0);
        let mut reader = follower(&log, None);
        for (number, cut) in cuts.into_iter().enumerate() {
            log.append(PATH, &text.as_bytes()[written..cut]);
            written = cut;
            if restart & (1 << (number % 16)) != 0 {
                reader = follower(&log, position.clone());
            }
            while let Some(batch) = reader.next_batch(max_lines).unwrap() {
                prop_assert_eq!(batch.range.start, end);
                let bytes = &text.as_bytes()[end as usize..batch.range.end as usize];
                prop_assert_eq!(&batch.sha256, &hex(Sha256::digest(bytes)));
                end = batch.range.end;
                bad += batch.bad.total();
                events.extend(batch.events);
                position = Some(batch.position);
            }
        }
        let expected: Vec<_> = {
            let whole = MemoryLog::default();
            whole.append(PATH, text.as_bytes());
            drain(&mut follower(&whole, None)).into_iter().flat_map(|batch| batch.events).collect()
        };
        prop_assert_eq!((events, bad, end), (expected, 2, text.len() as u64));
    }
}

fn refusal(make: impl FnOnce(&Path)) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollout.jsonl");
    make(&path);
    let error = read_meta(&FsLog, &path).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rollout);
    let plain = |text: String| text.replace(&folder.path().display().to_string(), "");
    (plain(error.message), plain(error.hint.unwrap_or_default()))
}

#[test]
fn what_is_no_rollout_is_refused_with_its_reason() {
    let written = |bytes: &'static [u8]| refusal(|path| fs::write(path, bytes).unwrap()).0;
    assert_eq!(written(b""), "/rollout.jsonl: is still empty");
    assert_eq!(written(b"{\"type\":"), "/rollout.jsonl: its first record is not written to its end yet");
    assert_eq!(
        written(b"[1]\n"),
        "/rollout.jsonl: is no Codex rollout: its first line is JSON but no object"
    );
    assert_eq!(written(b"\xff\n"), "/rollout.jsonl: is no Codex rollout: its first line is not UTF-8");
    assert_eq!(written(b"hello\n"), "/rollout.jsonl: is no Codex rollout: its first line is not JSON");
    let no_id = written(b"{\"type\":\"session_meta\",\"payload\":{}}\n");
    assert_eq!(no_id, "/rollout.jsonl: is no Codex rollout: its first record names no thread");
    let other = written(b"{\"type\":\"event_msg\",\"payload\":{}}\n");
    assert_eq!(
        other,
        "/rollout.jsonl: is no Codex rollout: its first record is `event_msg`, not `session_meta`"
    );
}

#[test]
fn what_cannot_be_opened_is_refused_with_a_way_on() {
    assert_eq!(refusal(|_| {}).0, "/rollout.jsonl: does not exist");
    assert_eq!(refusal(|path| fs::create_dir(path).unwrap()).0, "/rollout.jsonl: is a folder, not a rollout");
    let packed = refusal(|path| fs::write(path.with_extension("jsonl.zst"), b"").unwrap());
    assert_eq!(packed.0, "/rollout.jsonl: was compressed by Codex");
    assert_eq!(packed.1, "zstd -d --keep '/rollout.jsonl.zst'");
    let zstd = refusal(|path| fs::write(path, b"\x28\xb5\x2f\xfd....").unwrap());
    assert_eq!(
        (zstd.0.as_str(), zstd.1.as_str()),
        ("/rollout.jsonl: is compressed with zstd", "zstd -d --keep '/rollout.jsonl'")
    );
    let gzip = refusal(|path| fs::write(path, b"\x1f\x8b\n").unwrap());
    assert_eq!(gzip.0, "/rollout.jsonl: is compressed with gzip");
    assert_eq!(
        refusal(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()))
            .0
            .split(": ")
            .nth(1)
            .unwrap(),
        "cannot be read"
    );
}

#[test]
fn the_real_file_system_tells_a_replaced_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollout.jsonl");
    fs::write(&path, format!("{META}{}", line(1))).unwrap();
    assert_eq!(read_meta(&FsLog, &path).unwrap().cwd.as_deref(), Some("/repo"));
    let mut follower = Follower::open(&FsLog, &path, None).unwrap();
    assert_eq!(texts(&drain(&mut follower)), ["m1"]);
    let next = folder.path().join("next");
    fs::write(&next, format!("{META}{}", lines(1..=2))).unwrap();
    fs::rename(next, &path).unwrap();
    let batches = drain(&mut follower);
    assert_eq!((texts(&batches), batches[0].resync), (vec!["m2".to_owned()], Some(Resync::Replaced)));
    fs::remove_file(&path).unwrap();
    assert_eq!(follower.next_batch(1).unwrap_err().kind, ErrorKind::Rollout);
}
