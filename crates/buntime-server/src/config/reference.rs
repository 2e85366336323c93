//! The reference table of `docs/configuration.md`.

use super::variables::{Group, VARIABLES};

const GROUPS: [Group; 6] = [
    Group::Listening,
    Group::Files,
    Group::Workers,
    Group::Limits,
    Group::Access,
    Group::Logs,
];

/// The reference as Markdown: one table for each group.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for group in GROUPS {
        text.push_str("### ");
        text.push_str(group.title());
        text.push_str("\n\n| variable | flag | default | meaning |\n| --- | --- | --- | --- |\n");
        for variable in VARIABLES.iter().filter(|variable| variable.group == group) {
            let default = if variable.default.is_empty() {
                "unset"
            } else {
                variable.default
            };
            text.push_str(&format!(
                "| `{}` | `--{} {}` | {default} | {} |\n",
                variable.name, variable.flag, variable.value, variable.meaning
            ));
        }
        text.push('\n');
    }
    text
}
