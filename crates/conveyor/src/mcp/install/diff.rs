//! A change, shown.

use std::path::Path;

use similar::TextDiff;

/// Lines around a change.
const CONTEXT: usize = 3;

/// A unified diff of a file before and after.
pub(crate) fn unified(before: &str, after: &str, path: &Path) -> String {
    let path = path.display().to_string();
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&path, &path)
        .to_string()
}
