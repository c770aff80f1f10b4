use conveyor_model::ids::TaskId;
use serde_json::Map;

use super::*;

fn blank() -> ManagerConfig {
    ManagerConfig::new(TaskId::new(uuid::Uuid::nil()), conveyor_model::Timestamp::from_millis(0))
}

fn typed(lines: &str) -> Result<Map<String, Value>> {
    ask(&questions(&blank()), &mut lines.as_bytes(), &mut Vec::new())
}

#[test]
fn a_list_is_replaced_added_to_or_emptied() {
    let before = json!(["a", "b"]);
    let change = |replace: Option<&[&str]>, add: &[&str]| ListChange {
        replace: replace.map(|texts| texts.iter().map(ToString::to_string).collect()),
        add: add.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(change(None, &[]).over(&before), before);
    assert_eq!(change(None, &["b", " c ", ""]).over(&before), json!(["a", "b", "c"]));
    assert_eq!(change(Some(&["x"]), &["y"]).over(&before), json!(["x", "y"]));
    assert_eq!(change(Some(&[]), &[]).over(&before), json!([]));
}

#[test]
fn each_question_names_a_flag_and_takes_its_own_default_as_an_answer() {
    let asked = questions(&blank());
    assert_eq!(asked.len(), 10);
    let answers: Map<String, Value> =
        asked.iter().map(|question| (question.id.to_owned(), question.default.clone())).collect();
    assert_eq!(of_answers(&answers).unwrap().over(blank()), blank());
    assert!(asked.iter().all(|question| question.flag.starts_with("--")));
}

#[test]
fn a_wrong_answer_is_refused_and_named() {
    for (id, wrong) in [
        ("supervision_mode", json!("lax")),
        ("supervision_mode", json!(7)),
        ("objective", json!([])),
        ("guidelines", json!("one")),
        ("guidelines", json!([1])),
        ("permissions", json!({ "repo": ["rewrite_history"] })),
        ("permissions", json!([])),
        ("epilogues", json!(["party"])),
        ("nudge_on_completion", json!("always")),
        ("require_acks", json!("yes")),
        ("mood", json!("good")),
    ] {
        let answers: Map<String, Value> = [(id.to_owned(), wrong.clone())].into_iter().collect();
        let error = of_answers(&answers).unwrap_err();
        assert!(error.message.contains(id), "{wrong}: {error}");
    }
}

#[test]
fn a_person_answers_line_by_line() {
    let typed = typed("strict\nbe right\nrule 1\nrule 2\n\n\n-\nrepo.open_pr\n\n\n\n\nyes\n").unwrap();
    let after = of_answers(&typed).unwrap().over(blank());
    assert_eq!(after.supervision_mode, SupervisionMode::Strict);
    assert_eq!(after.objective.as_deref(), Some("be right"));
    assert_eq!(after.guidelines_json, json!(["rule 1", "rule 2"]));
    assert_eq!(after.reference_paths_json, json!([]));
    assert_eq!(after.permissions_json, json!({ "repo": ["open_pr"] }));
    assert!(after.require_acks);
}

#[test]
fn an_input_that_ends_early_stores_nothing() {
    for lines in ["", "strict\n", "strict\nx\nrule 1\n"] {
        assert!(typed(lines).is_err(), "{lines:?}");
    }
}
