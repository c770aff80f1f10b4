//! What a private home holds before the first start.

use std::fmt::Write as _;
use std::path::Path;

/// How a session is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Arguments behind the program's name.
    pub args: Vec<String>,
    /// More lines for `config.toml`, in front of its tables.
    pub settings: String,
    /// More tables for `config.toml`.
    pub tables: String,
    /// More files in the home: name and text.
    pub home_files: Vec<(String, String)>,
    /// More files in the working folder: path and text.
    pub work_files: Vec<(String, String)>,
    /// Whether the working folder is a git repository.
    pub git: bool,
    /// Leaves the working folder without a decision about trust.
    pub untrusted: bool,
    /// Uses Codex's own provider, which wants a login.
    pub without_provider: bool,
    /// Leaves the fake provider's key out of the environment.
    pub without_key: bool,
}

/// Writes home and working folder.
pub(super) fn write(home: &Path, work: &Path, base_url: &str, options: &Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(home)?;
    std::fs::create_dir_all(work)?;
    std::fs::write(home.join("config.toml"), config(work, base_url, options)?)?;
    for (name, text) in &options.home_files {
        put(&home.join(name), text)?;
    }
    for (name, text) in &options.work_files {
        put(&work.join(name), text)?;
    }
    if options.git {
        repository(work)?;
    }
    Ok(())
}

/// Writes a file and the folders above it.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(path, text)?)
}

/// The configuration.
fn config(work: &Path, base_url: &str, options: &Options) -> anyhow::Result<String> {
    let mut text = String::new();
    if !options.without_provider {
        text.push_str("model = \"fake-1\"\nmodel_provider = \"fake\"\n");
    }
    text.push_str(&options.settings);
    writeln!(text, "\n[model_providers.fake]\nname = \"fake\"\nbase_url = \"{base_url}\"")?;
    text.push_str("wire_api = \"responses\"\nenv_key = \"FAKE_KEY\"\nrequires_openai_auth = false\n");
    text.push_str("request_max_retries = 1\nstream_max_retries = 1\n");
    if !options.untrusted {
        writeln!(text, "\n[projects.\"{}\"]\ntrust_level = \"trusted\"", work.display())?;
    }
    writeln!(text, "\n{}", options.tables)?;
    Ok(text)
}

/// Makes the folder a git repository with one commit.
fn repository(work: &Path) -> anyhow::Result<()> {
    for args in [
        &["init", "-q"][..],
        &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "first"][..],
    ] {
        let done = std::process::Command::new("git").arg("-C").arg(work).args(args).status()?;
        anyhow::ensure!(done.success(), "git {args:?} failed");
    }
    Ok(())
}
