use conveyor_model::continuation::Verdict;

use super::*;
use crate::confine::Held;
use crate::confine::Output;

fn ran(ended: Ended, text: &str, cut: bool) -> Ran {
    let output = |text: &str, cut| Output { text: text.to_owned(), bytes: 0, sha256: String::new(), cut };
    Ran {
        ended,
        duration_ms: 1,
        stdout: output(text, cut),
        stderr: output("", false),
        held: Held { engine: "landlock".to_owned(), complete: true, network: false },
        left_behind: 0,
    }
}

#[test]
fn only_a_whole_opinion_of_a_reviewer_that_ended_well_is_one() {
    let good = r#"{"agreement":"match","verdict":"proceed","rationale":"they say the same"}"#;
    let well = Ended::Exited { code: 0 };
    let (opinion, failure) = judge(&Ok(ran(well, &format!("\n{good}\n"), false)));
    assert_eq!((opinion.verdict, failure), (Verdict::Proceed, None));
    let wrong = [
        (Ok(ran(Ended::TimedOut, good, false)), "took too long"),
        (Ok(ran(Ended::Signalled { signal: 9 }, good, false)), "signal 9"),
        (Ok(ran(Ended::Exited { code: 1 }, good, false)), "exit code 1"),
        (Ok(ran(well, good, true)), "printed more than"),
        (Ok(ran(well, "", false)), "one JSON object"),
        (Ok(ran(well, &format!("{good}{good}"), false)), "one JSON object"),
        (Ok(ran(well, "[]", false)), "JSON object"),
        (Ok(ran(well, "{}", false)), "`agreement` is missing"),
        (Err(Error::environment("no Landlock")), "no Landlock"),
    ];
    for (ran, why) in wrong {
        let (opinion, failure) = judge(&ran);
        assert_eq!(opinion.verdict, Verdict::Stop, "{why}");
        assert!(failure.as_deref().is_some_and(|failure| failure.contains(why)), "{why}: {failure:?}");
        assert_eq!(failure.as_deref(), Some(opinion.rationale.as_str()));
    }
}

#[test]
fn what_holds_a_secret_and_what_lies_in_one_are_both_out_of_reach() {
    let secrets =
        Secrets::for_test(&["/home/ann/.codex", "/home/ann/.local/state/conveyor"], "/srv/ledgers/a.db");
    for path in [
        "/home/ann/.codex/sessions/rollout.jsonl",
        "/home/ann/.local/state/conveyor",
        "/home/ann/.local",
        "/srv/ledgers/a.db",
        "/srv/ledgers/a.db-wal",
        "/srv/ledgers/a.db.bell",
        "/srv",
        "/",
    ] {
        assert!(secrets.touch(Path::new(path)), "{path}");
    }
    for path in ["/home/ann/review.py", "/home/ann/.local/state/conveyor2", "/srv/ledgers/review.py", "/usr"]
    {
        assert!(!secrets.touch(Path::new(path)), "{path}");
    }
}
