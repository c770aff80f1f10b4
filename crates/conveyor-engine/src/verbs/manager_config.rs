//! `manager-config`: how a task's manager is to work.

mod report;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::permission;
use conveyor_model::permission::Change;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig as Config;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::configs::SupervisionMode;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

pub use self::report::ManagerConfigReport;
use self::report::Recorded;
use crate::Caller;
use crate::Plane;
use crate::object::JsonObject;
use crate::policy;
use crate::policy::ListChange;
use crate::policy::Objective;
use crate::policy::Settings;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::statement;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;
use crate::verbs::pair::seed_criteria;

/// Show or set how a task's manager is to work
///
/// Without a flag that sets something, shows what is recorded, or null. A list flag replaces the whole list; `--add-…`
/// adds to it, `--clear-…` empties it. Acceptance texts become accepted criteria. `--questions` prints what to ask the
/// user, each question with the flag that stores its answer; `--answers-json` stores all answers in one call.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ManagerConfigRequest {
    /// The task, by name or id
    pub task: String,
    /// Show what is recorded and change nothing
    #[arg(long)]
    #[serde(default)]
    pub show: bool,
    /// Print what to ask the user, and change nothing
    #[arg(long)]
    #[serde(default)]
    pub questions: bool,
    /// Ask a person at this terminal
    #[arg(long)]
    #[serde(default)]
    pub interactive: bool,
    /// Answers to the questions, as an object of their ids
    #[arg(long, value_name = "OBJECT")]
    pub answers_json: Option<JsonObject>,
    /// How closely the worker is supervised: light, guided or strict
    #[arg(long)]
    pub mode: Option<SupervisionMode>,
    /// What the manager is after
    #[arg(long, allow_hyphen_values = true)]
    pub objective: Option<String>,
    /// Unset the objective
    #[arg(long)]
    #[serde(default)]
    pub clear_objective: bool,
    /// How the manager is to work; can be repeated, and replaces what was recorded
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub guideline: Vec<String>,
    /// One more guideline; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub add_guideline: Vec<String>,
    /// Unset the guidelines
    #[arg(long)]
    #[serde(default)]
    pub clear_guidelines: bool,
    /// What must be so in the end; can be repeated, replaces what was recorded and becomes an accepted criterion
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub acceptance: Vec<String>,
    /// One more of these; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub add_acceptance: Vec<String>,
    /// Unset the acceptance texts; their criteria stay
    #[arg(long)]
    #[serde(default)]
    pub clear_acceptance: bool,
    /// What the result is checked against; can be repeated, and replaces what was recorded
    #[arg(long, allow_hyphen_values = true, value_name = "PATH")]
    #[serde(default)]
    pub reference: Vec<String>,
    /// One more reference; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "PATH")]
    #[serde(default)]
    pub add_reference: Vec<String>,
    /// Unset the references
    #[arg(long)]
    #[serde(default)]
    pub clear_references: bool,
    /// A tool that should be used; can be repeated, and replaces what was recorded
    #[arg(long, allow_hyphen_values = true)]
    #[serde(default)]
    pub tool: Vec<String>,
    /// One more tool; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "TOOL")]
    #[serde(default)]
    pub add_tool: Vec<String>,
    /// Unset the tools
    #[arg(long)]
    #[serde(default)]
    pub clear_tools: bool,
    /// A step at the end: run-tools, draft-pr, subagent-review or record-handoff; can be repeated, and replaces
    #[arg(long, value_name = "STEP")]
    #[serde(default)]
    pub epilogue: Vec<String>,
    /// Unset the steps at the end
    #[arg(long)]
    #[serde(default)]
    pub clear_epilogues: bool,
    /// What follows when the worker says that it is done: off, ask-operator, auto-review or auto-proceed
    #[arg(long, value_name = "WAY")]
    pub nudge_on_completion: Option<NudgeOnCompletion>,
    /// Both sides must say what they have understood before work counts
    #[arg(long)]
    #[serde(default)]
    pub require_acks: bool,
    /// They need not
    #[arg(long)]
    #[serde(default)]
    pub no_require_acks: bool,
    /// Grant an action, as `category.action` or an older word; can be repeated
    #[arg(long, value_name = "ACTION")]
    #[serde(default)]
    pub permit: Vec<String>,
    /// Take an action back; can be repeated
    #[arg(long, value_name = "ACTION")]
    #[serde(default)]
    pub revoke: Vec<String>,
    /// Take all actions back, before any is granted
    #[arg(long)]
    #[serde(default)]
    pub clear_permissions: bool,
    /// Grant `repo.open_pr`
    #[arg(long)]
    #[serde(default)]
    pub allow_pr: bool,
    /// Grant `repo.merge_green_pr`
    #[arg(long)]
    #[serde(default)]
    pub allow_merge_green: bool,
    /// Grant `worker_session.compact` and `worker_session.clear`
    #[arg(long)]
    #[serde(default)]
    pub allow_worker_compact_clear: bool,
    /// Permissions as an object: a category with a list replaces it, an action with a truth value grants or revokes it
    #[arg(long, value_name = "OBJECT")]
    pub permissions_json: Option<JsonObject>,
}

impl ManagerConfigRequest {
    /// What the flags set.
    fn settings(&self) -> Result<Settings> {
        policy::check_epilogues(&self.epilogue)?;
        let unset = self.clear_objective.then_some(Objective::Unset);
        let objective = unset.or_else(|| self.objective.clone().map(Objective::Is));
        let require = [(self.require_acks, true), (self.no_require_acks, false)];
        Ok(Settings {
            mode: self.mode,
            objective,
            guidelines: list(&self.guideline, &self.add_guideline, self.clear_guidelines),
            acceptance: list(&self.acceptance, &self.add_acceptance, self.clear_acceptance),
            references: list(&self.reference, &self.add_reference, self.clear_references),
            tools: list(&self.tool, &self.add_tool, self.clear_tools),
            epilogues: list(&self.epilogue, &[], self.clear_epilogues),
            nudge: self.nudge_on_completion,
            require_acks: require.iter().find(|(given, _)| *given).map(|(_, require)| *require),
            permissions: self.permissions()?,
        })
    }

    /// What changes of the permissions, in the order in which it takes effect.
    fn permissions(&self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        changes.extend(self.clear_permissions.then_some(Change::RevokeAll));
        let allowed = [
            (self.allow_pr, "allow_pr"),
            (self.allow_merge_green, "allow_merge_green"),
            (self.allow_worker_compact_clear, "allow_worker_compact_clear"),
        ];
        let words = self.permit.iter().map(String::as_str);
        for word in words.chain(allowed.iter().filter(|(on, _)| *on).map(|(_, word)| *word)) {
            changes.extend(permission::parse(word)?.into_iter().map(Change::Grant));
        }
        for word in &self.revoke {
            changes.extend(permission::parse(word)?.into_iter().map(Change::Revoke));
        }
        if let Some(object) = &self.permissions_json {
            changes.extend(permission::changes(object.map())?);
        }
        Ok(changes)
    }

    fn texts(&self) -> [(&'static str, &[String]); 8] {
        [
            ("--guideline", &self.guideline),
            ("--add-guideline", &self.add_guideline),
            ("--acceptance", &self.acceptance),
            ("--add-acceptance", &self.add_acceptance),
            ("--reference", &self.reference),
            ("--add-reference", &self.add_reference),
            ("--tool", &self.tool),
            ("--add-tool", &self.add_tool),
        ]
    }
}

fn list(replace: &[String], add: &[String], clear: bool) -> ListChange {
    ListChange { replace: (clear || !replace.is_empty()).then(|| replace.to_vec()), add: add.to_vec() }
}

impl Request for ManagerConfigRequest {
    fn only_reads(&self) -> bool {
        let sets = self.settings().is_ok_and(|settings| settings.is_given());
        !sets && !self.interactive && self.answers_json.is_none()
    }

    fn check(&self) -> Result<()> {
        let sets = self.settings()?.is_given();
        let ways = [self.show, self.questions, self.interactive, self.answers_json.is_some(), sets];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(Error::usage(
                "--show, --questions, --interactive, --answers-json and the flags that set something exclude one another",
            ));
        }
        let contradict = [
            (self.require_acks && self.no_require_acks, "--require-acks", "--no-require-acks"),
            (self.objective.is_some() && self.clear_objective, "--objective", "--clear-objective"),
            (!self.guideline.is_empty() && self.clear_guidelines, "--guideline", "--clear-guidelines"),
            (!self.acceptance.is_empty() && self.clear_acceptance, "--acceptance", "--clear-acceptance"),
            (!self.reference.is_empty() && self.clear_references, "--reference", "--clear-references"),
            (!self.tool.is_empty() && self.clear_tools, "--tool", "--clear-tools"),
            (!self.epilogue.is_empty() && self.clear_epilogues, "--epilogue", "--clear-epilogues"),
        ];
        if let Some((_, one, other)) = contradict.iter().find(|(both, ..)| *both) {
            return Err(Error::usage(format!("{one} and {other} exclude one another")));
        }
        self.texts().iter().try_for_each(|(flag, texts)| statement::check_lines(flag, texts))?;
        match &self.answers_json {
            Some(answers) => policy::of_answers(answers.map()).map(drop),
            None => Ok(()),
        }
    }
}

/// The verb.
pub struct ManagerConfig;

impl Verb for ManagerConfig {
    const NAME: &'static str = "manager-config";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = ManagerConfigRequest;
    type Report = ManagerConfigReport;

    async fn run(plane: &Plane, request: ManagerConfigRequest) -> Result<ManagerConfigReport> {
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut reader, &request.task).await?;
        let recorded = configs::get(&mut reader, &task.id).await?;
        drop(reader);
        let base = recorded.clone().unwrap_or_else(|| Config::new(task.id.clone(), plane.clock.now()));
        if request.questions {
            return Ok(ManagerConfigReport::asked(plane, &task, &base));
        }
        let settings = match &request.answers_json {
            Some(answers) => policy::of_answers(answers.map())?,
            None if request.interactive => ask(plane, &task, &base)?,
            None => request.settings()?,
        };
        // Answers that change nothing are stored all the same: that somebody was asked is worth recording.
        if !settings.is_given() && !request.interactive && request.answers_json.is_none() {
            return Ok(ManagerConfigReport::shown(recorded));
        }
        record(plane, &request.task, &settings).await
    }
}

/// Asks the person at this terminal.
fn ask(plane: &Plane, task: &Task, base: &Config) -> Result<Settings> {
    if matches!(plane.caller, Caller::Tool { .. }) {
        return Err(Error::refused("an agent asks its user in its own chat").hint(plane.command(&[
            "manager-config",
            task.name.as_str(),
            "--questions",
        ])));
    }
    let asked = policy::questions(base);
    let answers = policy::ask(&asked, &mut std::io::stdin().lock(), &mut std::io::stderr())?;
    policy::of_answers(&answers)
}

/// Stores what is set, with the criteria that follow from it.
async fn record(plane: &Plane, word: &str, settings: &Settings) -> Result<ManagerConfigReport> {
    let (mut tx, task) = resolve::task_to_change(plane, word).await?;
    speaker::may_speak(plane, &mut tx, &task, Speaks::ToPrepare).await?;
    let before = configs::get(&mut tx, &task.id).await?;
    let base = before.clone().unwrap_or_else(|| Config::new(task.id.clone(), tx.now()));
    let stored = put(&mut tx, &task, &base, settings.over(base.clone())).await?;
    let criteria = seed_criteria(&mut tx, &task, &stored).await?;
    tx.commit().await?;
    let changed = before.as_ref().is_none_or(|before| before.revision != stored.revision);
    let dropped = dropped(&base, &stored);
    Ok(ManagerConfigReport::recorded(plane, &task, stored, Recorded { changed, criteria, dropped }))
}

async fn put(tx: &mut Tx, task: &Task, before: &Config, next: Config) -> Result<Config> {
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let details = json!({
        "acceptance_count": count(&next.acceptance_criteria_json),
        "epilogue_count": count(&next.epilogues_json),
        "guideline_count": count(&next.guidelines_json),
        "nudge_on_completion": next.nudge_on_completion,
        "permissions_before": before.permissions_json,
        "permissions": next.permissions_json,
        "reference_count": count(&next.reference_paths_json),
        "require_acks": next.require_acks,
        "supervision_mode": next.supervision_mode,
        "tool_count": count(&next.tools_json),
    });
    let sentence = format!("How {} is managed was recorded.", task.name);
    configs::put(tx, next, AuditRow::new("manager_config_recorded", sentence).payload(details)).await
}

/// Acceptance texts that stood there before and do not any more. Their criteria stay.
fn dropped(before: &Config, after: &Config) -> Vec<String> {
    let texts = |config: &Config| -> Vec<String> {
        let list = config.acceptance_criteria_json.as_array().into_iter().flatten();
        list.filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect()
    };
    let now = texts(after);
    texts(before).into_iter().filter(|text| !now.contains(text)).collect()
}

#[cfg(test)]
mod tests;
