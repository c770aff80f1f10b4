//! A verb that reads the ledger before it writes is run once.

use crate::desk::Desk;
use crate::pair::TASK;

#[test]
fn a_verb_whose_own_writing_changed_the_file_that_it_read_is_not_run_again() {
    let desk = Desk::new();
    desk.report(&["tasks", "--create", TASK, "--goal", "it is built"]);
    let finished = desk.report(&["finish-task", TASK]);
    assert_eq!(
        (&finished["state"], &finished["already_done_followup"]),
        (&"done".into(), &false.into()),
        "{finished:#}"
    );
}
