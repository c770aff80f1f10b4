//! Commands that somebody else brought: whatever they do, they stay in their bounds, and nothing of them is left.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use conveyor_engine::confine;
use conveyor_engine::confine::Ended;
use conveyor_engine::confine::Ran;
use conveyor_engine::confine::Reach;
use conveyor_engine::confine::Spec;
use conveyor_model::Result;

const PROGRAM: &str = env!("CARGO_BIN_EXE_conveyor");

/// A shell script in a folder, which is all that it may change.
fn spec(folder: &Path, script: &str) -> Spec {
    Spec {
        argv: ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec(),
        cwd: folder.to_owned(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        stdin: None,
        limit_ms: 20_000,
        output_bytes: 4_096,
        reach: Some(Reach::system().writing([folder.to_owned()])),
    }
}

async fn run(spec: Spec) -> Result<Ran> {
    confine::run(Path::new(PROGRAM), spec).await
}

/// The output of a script that succeeds.
async fn said(spec: Spec) -> String {
    let ran = run(spec).await.unwrap();
    assert_eq!(ran.ended, Ended::Exited { code: 0 }, "{ran:?}");
    ran.stdout.text
}

/// Processes whose command line holds a word.
fn running(word: &str) -> Vec<u32> {
    let ids = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let words = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    ids.filter(|pid| words(pid).split(|byte| *byte == 0).any(|one| one == word.as_bytes())).collect()
}

/// Waits until a word runs somewhere.
fn appears(word: &str) -> u32 {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(pid) = running(word).first() {
            return *pid;
        }
        assert!(Instant::now() < until, "{word} does not run");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn vanishes(word: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while !running(word).is_empty() {
        assert!(Instant::now() < until, "{word} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn a_command_gets_its_input_and_environment_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), "cat; env | sort; echo oops >&2; exit 3");
    spec.stdin = Some("hello\n".to_owned());
    let ran = run(spec).await.unwrap();
    assert_eq!((ran.ended, ran.stderr.text.as_str()), (Ended::Exited { code: 3 }, "oops\n"));
    let words: Vec<&str> = ran.stdout.text.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(words, ["hello", "CONVEYOR_CONFINED", "PATH", "PWD"]);
    assert_eq!((ran.held.engine.as_str(), ran.held.complete, ran.left_behind), ("landlock", true, 0));
    assert_eq!(ran.stderr.sha256, "fe19778cf1ce280658154f2b9c01ffbccd825a23460141dcf3794e7a2c0eb629");
}

#[tokio::test]
async fn a_command_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), "trap '' TERM INT HUP; echo begun; sleep 86401.25");
    spec.limit_ms = 300;
    let begun = Instant::now();
    let ran = run(spec).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.text.as_str()), (Ended::TimedOut, "begun\n"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(running("86401.25").is_empty());
}

#[tokio::test]
async fn what_forks_or_makes_a_session_of_its_own_is_ended_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 86402.25 & setsid sleep 86402.25 & (setsid sh -c 'sleep 86402.25 & sleep 86402.25' &); \
                  (nohup sleep 86402.25 > /dev/null 2>&1 < /dev/null &) ; sleep 0.2; echo done";
    let ran = run(spec(folder.path(), script)).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.text.as_str()), (Ended::Exited { code: 0 }, "done\n"));
    assert!(ran.left_behind >= 5, "{ran:?}");
    assert!(running("86402.25").is_empty());
}

#[tokio::test]
async fn what_forks_without_end_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "f() { sleep 86403.25 & while :; do (sleep 86403.25 &); sleep 0.01; done; }; f & f & f & wait";
    let mut spec = spec(folder.path(), script);
    spec.limit_ms = 700;
    let ran = run(spec).await.unwrap();
    assert_eq!(ran.ended, Ended::TimedOut);
    assert!(running("86403.25").is_empty());
}

#[tokio::test]
async fn a_flood_is_counted_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(spec(folder.path(), "yes | head -c 30000000; echo end")).await.unwrap();
    assert_eq!((ran.stdout.bytes, ran.stdout.cut), (30_000_004, true));
    assert!(ran.stdout.text.len() < 5_000);
    assert!(ran.stdout.text.contains("bytes are left out here") && ran.stdout.text.ends_with("end\n"));
}

#[tokio::test]
async fn there_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let script = "test -t 0 || test -t 1 || echo none; read line || echo empty; (: < /dev/tty) 2> /dev/null || echo closed";
    assert_eq!(said(spec(folder.path(), script)).await, "none\nempty\nclosed\n");
}

#[tokio::test]
async fn files_elsewhere_are_neither_read_nor_changed() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let path = secret.display();
    let script = format!(
        "exec 2> /dev/null; cat {path} || echo unread; ls {0} || echo unlisted; echo x > {path} || echo unwritten; \
         ln -s {path} link; cat link || echo unfollowed; rm -f {path} || echo kept; echo x > new && cat new",
        outside.path().display()
    );
    assert_eq!(
        said(spec(folder.path(), &script)).await,
        "unread\nunlisted\nunwritten\nunfollowed\nkept\nx\n"
    );
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    let mut reading =
        spec(folder.path(), &format!("cat {path}; (echo x > {path}) 2> /dev/null || echo unwritten"));
    reading.reach = Some(Reach::system().reading([outside.path().to_owned()]));
    assert_eq!(said(reading).await, "secretunwritten\n");
}

#[tokio::test]
async fn other_programs_are_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tmux");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let script = format!(
        "perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0) && connect($s, sockaddr_un(\"{}\")) and print \"in\"'; \
         perl -MSocket -e 'socket(my $s, PF_INET, SOCK_DGRAM, 0) and print \"net\"'; \
         kill -0 {} 2> /dev/null && echo signal; tr '\\0' '\\n' < /proc/{}/environ 2> /dev/null | grep -c = ; :",
        socket.display(),
        std::process::id(),
        std::process::id(),
    );
    assert_eq!(said(spec(folder.path(), &script)).await, "0\n");
    let mut online = spec(folder.path(), &script);
    online.reach = Some(Reach::system().writing([folder.path().to_owned()]).with_network());
    assert_eq!(
        said(online).await,
        "net0\n",
        "the network is no way to the sockets of this machine's programs"
    );
}

#[tokio::test]
async fn a_killed_helper_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let script = "setsid sleep 86404.25 & sleep 86404.25";
    let ran = tokio::spawn(run(spec(folder.path(), script)));
    let sleeper = tokio::task::spawn_blocking(|| appears("86404.25")).await.unwrap();
    let mut helper = sleeper;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{helper}/stat")).unwrap();
        helper = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        let words = std::fs::read(format!("/proc/{helper}/cmdline")).unwrap();
        if String::from_utf8_lossy(&words).contains(confine::HELPER) {
            break;
        }
    }
    assert!(Command::new("kill").args(["-9", &helper.to_string()]).status().unwrap().success());
    assert!(ran.await.unwrap().unwrap_err().message.contains("without an answer"));
    vanishes("86404.25");
}

#[test]
fn a_killed_caller_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut helper = Command::new(PROGRAM)
        .arg(confine::HELPER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = helper.stdin.take().unwrap();
    let line = serde_json::to_string(&spec(folder.path(), "setsid sleep 86405.25 & sleep 86405.25")).unwrap();
    writeln!(input, "{line}").unwrap();
    appears("86405.25");
    drop(input);
    assert!(!helper.wait().unwrap().success());
    assert!(running("86405.25").is_empty());
}

#[tokio::test]
async fn what_cannot_be_started_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut none = spec(folder.path(), "");
    none.argv = vec!["/not/there".to_owned()];
    assert!(run(none.clone()).await.unwrap_err().message.contains("`/not/there` cannot be started"));
    none.argv.clear();
    assert!(run(none).await.unwrap_err().message.contains("no command"));
    let elsewhere = confine::run(Path::new("/not/there"), spec(folder.path(), "")).await;
    assert!(elsewhere.unwrap_err().message.contains("helper"));
}
