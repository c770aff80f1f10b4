//! Rules in a file, for the provider as a program of its own.

use serde::Deserialize;

use super::Rule;
use crate::directive;

/// The file: any number of `[[rule]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    rule: Vec<Entry>,
}

/// One rule of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A part of the last user text.
    when: String,
    /// Only in this thread.
    thread: Option<String>,
    /// Directives, as in a user's text.
    #[serde(default)]
    then: String,
    /// Shell commands that are called in order before the directives; they may hold `]]`.
    #[serde(default)]
    run: Vec<String>,
}

/// The rules of a script in TOML.
pub fn parse(text: &str) -> anyhow::Result<Vec<Rule>> {
    let script: Script = toml::from_str(text)?;
    Ok(script.rule.into_iter().map(rule).collect())
}

/// One rule.
fn rule(entry: Entry) -> Rule {
    let mut rule = Rule::shell(entry.when, entry.run).and(directive::parse(&entry.then));
    rule.thread = entry.thread;
    rule
}

#[cfg(test)]
mod tests {
    use super::super::Then;
    use super::*;

    #[test]
    fn commands_come_before_directives() {
        let text = "[[rule]]\nwhen = \"[conveyor\"\nrun = [\"[[ -e x ]]\"]\nthen = \"[[say=done]]\"\n";
        let rules = parse(text).unwrap();
        let Then::Steps(steps) = &rules[0].then else { panic!("fixed steps") };
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1], directive::Step::Say("done".into()));
        assert!(
            parse("[[rule]]\nwhen = \"x\"\nthne = \"\"\n").is_err(),
            "a misspelt key is no rule that does nothing"
        );
    }
}
