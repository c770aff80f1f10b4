//! The tools: the rows of the table of verbs that agents may call.

use std::sync::Arc;

use conveyor_engine::verb::Agents;
use conveyor_engine::verb::Effect;
use conveyor_engine::verb::Entry;
use rmcp::model::Tool;
use rmcp::model::ToolAnnotations;

use super::schema;

/// The tools of a table.
pub(super) fn of(verbs: &'static [Entry]) -> Vec<Tool> {
    verbs.iter().filter(|verb| is_offered(verb)).map(tool).collect()
}

/// The verb of a tool's name, also of one that is not offered: its caller is told why.
pub(super) fn find(verbs: &'static [Entry], name: &str) -> Option<&'static Entry> {
    verbs.iter().find(|verb| tool_name(verb) == name)
}

fn is_offered(verb: &Entry) -> bool {
    verb.agents != Agents::No
}

fn tool_name(verb: &Entry) -> String {
    verb.name.replace('-', "_")
}

fn tool(verb: &'static Entry) -> Tool {
    let (description, input) = schema::of(verb);
    let title = description.lines().next().unwrap_or_default().to_owned();
    let note = match verb.agents {
        Agents::Managers => "\n\nOnly a session that is registered as a manager may call it.",
        Agents::Workers => "\n\nOnly a session that is registered as a worker may call it.",
        Agents::Any | Agents::No => "",
    };
    Tool::new(tool_name(verb), format!("{description}{note}"), Arc::new(input))
        .with_title(title)
        .with_annotations(annotations(verb.effect))
}

/// By these hints Codex decides whether a person is asked first: never for a tool that only reads or is neither
/// destructive nor open to the world, always for a destructive one (measured on 0.169, also with `-a never`, where
/// asking means failing).
fn annotations(effect: Effect) -> ToolAnnotations {
    let (reads, destroys) = match effect {
        Effect::Reads => (true, false),
        Effect::Writes => (false, false),
        Effect::Acts => (false, true),
    };
    ToolAnnotations::new().read_only(reads).destructive(destroys).open_world(false)
}
