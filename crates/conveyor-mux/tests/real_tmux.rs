//! The real tmux, on a socket of its own under a temporary folder.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not know their helpers for tests"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::time::Duration;
use std::time::Instant;

use conveyor_model::ErrorKind;
use conveyor_model::Retry;
use conveyor_model::pane::Kind;
use conveyor_model::pane::classify;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Gone;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::PaneLock;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_mux::Server;
use conveyor_mux::SpawnSpec;
use conveyor_mux::Target;
use conveyor_mux::Tmux;

/// A tmux server of one test, ended with it.
struct Lab {
    folder: tempfile::TempDir,
    tmux: Tmux,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), tmux: Tmux::new() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn server(&self) -> Server {
        Server::Socket(self.socket())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// tmux itself, for what conveyor never does.
    fn raw(&self, args: &[&str]) -> Output {
        Command::new("tmux").arg("-S").arg(self.socket()).args(args).env_remove("TMUX").output().unwrap()
    }

    fn spec(&self, session: &str, argv: &[&str]) -> SpawnSpec {
        let argv = argv.iter().map(OsString::from).collect();
        SpawnSpec::new(session.parse().unwrap(), self.folder.path(), argv)
    }

    async fn spawn(&self, session: &str, argv: &[&str]) -> Pin {
        self.tmux.spawn(&self.server(), &self.spec(session, argv)).await.unwrap()
    }

    /// A program that writes each byte that it gets into `file`, in raw mode, with bracketed paste on or off.
    async fn reader(&self, session: &str, file: &str, bracketed: bool) -> Pin {
        let mode = if bracketed { "\\033[?2004h" } else { "" };
        let script =
            format!("stty raw -echo; printf '{mode}ready'; exec cat > {}", self.path(file).display());
        let pin = self.spawn(session, &["sh", "-c", &script]).await;
        self.shows(&pin, "ready").await;
        pin
    }

    /// Waits until the screen holds `text`.
    async fn shows(&self, pin: &Pin, text: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let screen = self.tmux.capture(pin).await.unwrap().text();
            if screen.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "`{text}` is not on the screen: {screen}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `file` has `length` bytes, and returns them.
    async fn bytes(&self, file: &str, length: usize) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let bytes = fs::read(self.path(file)).unwrap_or_default();
            if bytes.len() >= length {
                return bytes;
            }
            assert!(Instant::now() < end, "{file} has {} bytes, not {length}", bytes.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the check of a pin says `wanted`.
    async fn becomes(&self, pin: &Pin, wanted: &PinCheck) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let check = self.tmux.check(pin).await.unwrap();
            if check == *wanted {
                return;
            }
            assert!(Instant::now() < end, "{check:?} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.raw(&["kill-server"]);
    }
}

fn name(text: &str) -> BufferName {
    text.parse().unwrap()
}

const OURS: PinCheck = PinCheck::Ours { in_mode: false };

#[tokio::test]
async fn a_dead_session_is_never_taken_for_one_with_a_longer_name() {
    let lab = Lab::new();
    let longer = lab.reader("codex-ab", "out", false).await;
    let missing = lab.tmux.pin(&lab.server(), &Target::Session("codex-a".to_owned())).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
    for pattern in ["codex-a*", "codex-?b", "=codex-ab", "codex-ab:", ""] {
        let error = lab.tmux.pin(&lab.server(), &Target::Session(pattern.to_owned())).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{pattern}");
    }
    let shorter = lab.reader("codex-a", "short", false).await;
    assert!(lab.tmux.kill_session(&shorter).await.unwrap());
    assert!(!lab.tmux.kill_session(&shorter).await.unwrap(), "a second time there is nothing to end");
    lab.tmux.load_buffer(&shorter, &name("b"), b"secret").await.unwrap();
    assert_eq!(lab.tmux.paste(&shorter, &[name("b")]).await.unwrap(), Acted::Refused);
    assert_eq!(lab.tmux.press(&shorter, Key::Enter).await.unwrap(), Acted::Refused);
    assert_eq!(lab.tmux.check(&longer).await.unwrap(), OURS);
    assert_eq!(lab.tmux.press(&longer, Key::Tab).await.unwrap(), Acted::Done);
    assert_eq!(lab.bytes("out", 1).await, b"\t", "only what was meant for it has arrived");
}

#[tokio::test]
async fn a_session_with_two_panes_is_ambiguous_and_a_pane_id_is_not() {
    let lab = Lab::new();
    let first = lab.spawn("two", &["sleep", "600"]).await;
    assert!(lab.raw(&["split-window", "-t", "=two:", "sleep", "601"]).status.success());
    let error = lab.tmux.pin(&lab.server(), &Target::Session("two".to_owned())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Ambiguous);
    assert!(
        error.message.contains("%0 (sleep)") && error.message.contains("%1 (sleep)"),
        "{}",
        error.message
    );
    let pinned = lab.tmux.pin(&lab.server(), &Target::Pane(first.pane)).await.unwrap();
    assert_eq!(pinned, first);
    assert!(lab.tmux.kill_pane(&first).await.unwrap());
    assert_eq!(lab.tmux.check(&first).await.unwrap(), PinCheck::Gone { what: Gone::Pane });
    let rest = lab.tmux.panes(&lab.server()).await.unwrap();
    assert_eq!(rest.len(), 1, "only the pinned pane was closed");
}

#[tokio::test]
async fn a_paste_into_copy_mode_is_refused_and_leaves_the_buffer() {
    let lab = Lab::new();
    let pin = lab.reader("copy", "out", true).await;
    assert!(lab.raw(&["copy-mode", "-t", &pin.pane.to_string()]).status.success());
    assert_eq!(lab.tmux.check(&pin).await.unwrap(), PinCheck::Ours { in_mode: true });
    assert!(lab.tmux.capture(&pin).await.unwrap().in_mode);
    lab.tmux.load_buffer(&pin, &name("b"), b"x").await.unwrap();
    assert_eq!(lab.tmux.paste(&pin, &[name("b")]).await.unwrap(), Acted::Refused);
    assert_eq!(lab.tmux.press(&pin, Key::Tab).await.unwrap(), Acted::Refused);
    assert!(lab.tmux.delete_buffer(&pin, &name("b")).await.unwrap(), "it was never pasted");
}

#[tokio::test]
async fn delete_buffer_is_true_exactly_when_never_pasted() {
    let lab = Lab::new();
    let pin = lab.reader("buffers", "out", true).await;
    for buffer in ["conveyor-1-a", "conveyor-1-b", "other"] {
        lab.tmux.load_buffer(&pin, &name(buffer), b"text").await.unwrap();
    }
    let listed = lab.tmux.list_buffers(&pin, "conveyor-1").await.unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(lab.tmux.paste(&pin, &[name("conveyor-1-a")]).await.unwrap(), Acted::Done);
    assert!(!lab.tmux.delete_buffer(&pin, &name("conveyor-1-a")).await.unwrap(), "it was pasted");
    assert!(lab.tmux.delete_buffer(&pin, &name("conveyor-1-b")).await.unwrap(), "it was not");
    assert!(!lab.tmux.delete_buffer(&pin, &name("conveyor-1-b")).await.unwrap(), "and now it never can be");
    let error = lab.tmux.paste(&pin, &[name("other"), name("conveyor-1-b")]).await.unwrap_err();
    assert_eq!(error.retry, Retry::Unknown, "the first one was pasted before the second was missed");
    assert!(!lab.tmux.delete_buffer(&pin, &name("other")).await.unwrap());
}

#[tokio::test]
async fn text_arrives_byte_by_byte_in_brackets() {
    let lab = Lab::new();
    let pin = lab.reader("bytes", "out", true).await;
    let long = "0123456789abcde\n".repeat(4096);
    let bodies = [
        "-t leading dash; and a semicolon;",
        "one\ntwo\r\n\tthree \\; #{pane_id} $(id) `id` \"q\" 'q'",
        "é 漢字 👩‍👩‍👧 e\u{301} \u{2028}",
        "\u{1b}[201~\u{15}\u{3}",
        &long,
    ];
    let mut expected: Vec<u8> = Vec::new();
    for (at, body) in bodies.iter().enumerate() {
        let (label, text) = (name(&format!("l-{at}")), name(&format!("b-{at}")));
        lab.tmux.load_buffer(&pin, &label, b"[label] ").await.unwrap();
        lab.tmux.load_buffer(&pin, &text, body.as_bytes()).await.unwrap();
        assert_eq!(lab.tmux.paste(&pin, &[label, text]).await.unwrap(), Acted::Done);
        for part in ["[label] ", body] {
            expected.extend_from_slice(b"\x1b[200~");
            expected.extend_from_slice(part.as_bytes());
            expected.extend_from_slice(b"\x1b[201~");
        }
    }
    for key in [Key::Tab, Key::Enter, Key::Escape, Key::CtrlU] {
        assert_eq!(lab.tmux.press(&pin, key).await.unwrap(), Acted::Done);
    }
    expected.extend_from_slice(b"\t\r\x1b\x15");
    assert!(lab.bytes("out", expected.len()).await == expected);
}

#[tokio::test]
async fn a_restarted_server_with_the_same_pane_ids_is_another_one() {
    let lab = Lab::new();
    let old = lab.reader("again", "old", true).await;
    assert_eq!(lab.tmux.check(&old).await.unwrap(), OURS);
    lab.raw(&["kill-server"]);
    lab.becomes(&old, &PinCheck::Gone { what: Gone::Server }).await;
    assert_eq!(lab.tmux.paste(&old, &[name("b")]).await.unwrap(), Acted::Refused);
    assert!(!lab.tmux.delete_buffer(&old, &name("b")).await.unwrap());
    assert_eq!(lab.tmux.capture(&old).await.unwrap_err().kind, ErrorKind::NotFound);
    let new = lab.reader("again", "new", true).await;
    assert_eq!((new.pane, &new.session, &new.socket), (old.pane, &old.session, &old.socket));
    assert!(matches!(lab.tmux.check(&old).await.unwrap(), PinCheck::Changed { .. }));
    lab.tmux.load_buffer(&old, &name("b"), b"for the old one").await.unwrap();
    assert_eq!(lab.tmux.paste(&old, &[name("b")]).await.unwrap(), Acted::Refused);
    assert_eq!(lab.tmux.press(&old, Key::Enter).await.unwrap(), Acted::Refused);
    assert!(!lab.tmux.kill_pane(&old).await.unwrap());
    assert!(!lab.tmux.kill_session(&old).await.unwrap());
    assert_eq!(lab.tmux.capture(&old).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(lab.tmux.check(&new).await.unwrap(), OURS);
    assert!(fs::read(lab.path("new")).unwrap().is_empty());
}

#[tokio::test]
async fn a_reused_process_id_is_noticed() {
    let lab = Lab::new();
    let pin = lab.spawn("reuse", &["sleep", "600"]).await;
    let earlier = |started: Option<u64>| started.map(|started| started - 1);
    let mut program = pin.clone();
    program.program.started = earlier(pin.program.started);
    assert!(matches!(lab.tmux.check(&program).await.unwrap(), PinCheck::Changed { .. }));
    let mut server = pin.clone();
    server.server.started = earlier(pin.server.started);
    assert!(matches!(lab.tmux.check(&server).await.unwrap(), PinCheck::Changed { .. }));
    assert_eq!(lab.tmux.check(&pin).await.unwrap(), OURS);
}

#[tokio::test]
async fn another_program_in_the_same_pane_is_noticed() {
    let lab = Lab::new();
    let pin = lab.spawn("respawn", &["sleep", "600"]).await;
    assert!(lab.raw(&["respawn-pane", "-k", "-t", &pin.pane.to_string(), "sleep", "601"]).status.success());
    assert!(matches!(lab.tmux.check(&pin).await.unwrap(), PinCheck::Changed { .. }));
    assert_eq!(lab.tmux.press(&pin, Key::Enter).await.unwrap(), Acted::Refused);
    assert!(!lab.tmux.kill_pane(&pin).await.unwrap());
}

#[tokio::test]
async fn the_last_lines_of_a_program_that_died_can_be_read() {
    let lab = Lab::new();
    let pin = lab.spawn("dies", &["sh", "-c", "echo 'error: no such model'; exit 3"]).await;
    lab.becomes(&pin, &PinCheck::Gone { what: Gone::Program }).await;
    let screen = lab.tmux.capture(&pin).await.unwrap();
    assert!(screen.dead && screen.text().contains("error: no such model"), "{screen:?}");
    assert_eq!(classify(&screen).kind, Kind::Quit);
    lab.tmux.load_buffer(&pin, &name("b"), b"x").await.unwrap();
    assert_eq!(lab.tmux.paste(&pin, &[name("b")]).await.unwrap(), Acted::Refused);
    assert!(lab.tmux.delete_buffer(&pin, &name("b")).await.unwrap(), "a dead pane leaves the buffer");
    assert!(lab.tmux.kill_pane(&pin).await.unwrap());
}

#[tokio::test]
async fn a_program_gets_its_arguments_variables_and_folder_unread_by_any_shell() {
    let lab = Lab::new();
    let folder = lab.path("a#{pid} b;");
    fs::create_dir(&folder).unwrap();
    let out = lab.path("out");
    let script = r#"{ printf '%s\0' "$@" "$SET" "${GONE-unset}" "$PWD"; } > "$OUT.part" && mv "$OUT.part" "$OUT"; sleep 600"#;
    let args = [";", "a;", "a\\;", "-x", "$(touch x)", "#{pane_id}", "", "é \"q\" 'q'\n"];
    let argv: Vec<&str> = ["sh", "-c", script, "sh"].into_iter().chain(args).collect();
    let keeper = lab.spawn("keeper", &["sleep", "600"]).await;
    assert!(lab.raw(&["set-environment", "-g", "GONE", "there"]).status.success());
    let mut spec = SpawnSpec { cwd: folder.clone(), ..lab.spec("args", &argv) };
    spec.set = vec![("SET".into(), "a;b c;".into()), ("OUT".into(), out.clone().into())];
    spec.remove = vec!["GONE".into()];
    let pin = lab.tmux.spawn(&lab.server(), &spec).await.unwrap();
    let text = String::from_utf8(lab.bytes("out", 1).await).unwrap();
    let got: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let expected: Vec<&str> = args.into_iter().chain(["a;b c;", "unset", folder.to_str().unwrap()]).collect();
    assert_eq!(got, expected);
    let screen = lab.tmux.capture(&pin).await.unwrap();
    assert_eq!((screen.width, screen.height), (200, 50));
    assert_eq!(lab.tmux.check(&keeper).await.unwrap(), OURS);
    let info =
        lab.tmux.panes(&lab.server()).await.unwrap().into_iter().find(|pane| pane.id == pin.pane).unwrap();
    assert_eq!((info.cwd.as_path(), info.session.as_str()), (folder.as_path(), "args"));
    let error = lab.tmux.spawn(&lab.server(), &spec).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn a_single_argument_is_a_program_and_not_a_line_for_a_shell() {
    let lab = Lab::new();
    let pin = lab.spawn("single", &["touch x; sleep 600"]).await;
    lab.becomes(&pin, &PinCheck::Gone { what: Gone::Program }).await;
    assert!(!lab.path("x").exists());
}

#[tokio::test]
async fn what_cannot_be_started_is_told_before_anything_starts() {
    let lab = Lab::new();
    let mut wrong =
        vec![lab.spec("w", &[]), lab.spec("w", &["A=b"]), lab.spec("w", &["-u"]), lab.spec("w", &[""])];
    wrong.push(SpawnSpec { cwd: lab.path("missing"), ..lab.spec("w", &["sleep", "1"]) });
    wrong.push(SpawnSpec { remove: vec!["-C".into()], ..lab.spec("w", &["sleep", "1"]) });
    wrong.push(SpawnSpec { set: vec![("A=B".into(), "".into())], ..lab.spec("w", &["sleep", "1"]) });
    for spec in wrong {
        let error = lab.tmux.spawn(&lab.server(), &spec).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{spec:?}");
    }
    assert!(
        lab.tmux.panes(&lab.server()).await.unwrap().is_empty(),
        "no server has none, and none was started"
    );
}

#[tokio::test]
async fn a_screen_comes_with_title_cursor_styles_and_all_characters() {
    let lab = Lab::new();
    // Run as under a daemon without a locale: tmux would print `_` for each character outside of ASCII.
    let script = r"printf '\033]2;\342\240\213 t: 9:x\007\033[2J\033[H\033[2m\342\200\272 dim\033[0m bright\033[5;3H'; exec sleep 600";
    let pin = lab.spawn("screen", &["sh", "-c", script]).await;
    lab.shows(&pin, "bright").await;
    let screen = lab.tmux.capture(&pin).await.unwrap();
    assert_eq!(screen.lines[0].text, "› dim bright");
    assert_eq!(screen.lines[0].dim, vec![0.."› dim".len()]);
    assert_eq!(screen.title, "⠋ t: 9:x");
    let cursor = screen.cursor.unwrap();
    assert_eq!((cursor.row, cursor.column, cursor.visible, screen.styled), (4, 2, true, true));
}

#[tokio::test]
async fn a_server_is_known_by_name_as_well_as_by_socket() {
    let lab = Lab::new();
    let named = Server::named("lab", Some(lab.folder.path().as_os_str()));
    let spec = lab.spec("named", &["sleep", "600"]);
    let pin = lab.tmux.spawn(&named, &spec).await.unwrap();
    assert!(pin.socket.starts_with(lab.folder.path()), "{}", pin.socket.display());
    let target = Target::Session("named".to_owned());
    assert_eq!(lab.tmux.pin(&Server::Socket(pin.socket.clone()), &target).await.unwrap(), pin);
    assert_eq!(lab.tmux.pin(&named, &target).await.unwrap(), pin);
    assert!(lab.tmux.kill_session(&pin).await.unwrap(), "the last session, and with it the server");
    lab.becomes(&pin, &PinCheck::Gone { what: Gone::Server }).await;
}

#[tokio::test]
async fn a_pin_survives_being_stored() {
    let lab = Lab::new();
    let pin = lab.spawn("stored", &["sleep", "600"]).await;
    let stored = serde_json::to_string(&pin).unwrap();
    let read: Pin = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, pin);
    assert!(serde_json::from_str::<Pin>(&stored.replace("%0", "%0;kill-server")).is_err());
    assert_eq!(lab.tmux.check(&read).await.unwrap(), OURS);
}

#[tokio::test]
async fn a_hung_server_is_a_timeout_and_a_missing_tmux_is_told() {
    let lab = Lab::new();
    let pin = lab.spawn("hung", &["sleep", "600"]).await;
    let signal = |name: &str| {
        let pid = pin.server.pid.to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let error = lab.tmux.clone().patience(Duration::from_millis(300)).check(&pin).await.unwrap_err();
    signal("-CONT");
    assert_eq!((error.kind, error.retry), (ErrorKind::Timeout, Retry::Unknown));
    let missing = Tmux::new().program("tmux-that-is-not-there").check(&pin).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::Environment);
    assert!(missing.hint.unwrap().contains("install tmux"));
}

#[tokio::test]
async fn two_locks_of_one_pane_exclude_one_another_and_two_panes_do_not() {
    let lab = Lab::new();
    let (one, two) = (lab.spawn("one", &["sleep", "600"]).await, lab.spawn("two", &["sleep", "600"]).await);
    let dir = lab.path("locks");
    let first = PaneLock::try_acquire(&dir, &one).unwrap().expect("free");
    assert!(PaneLock::try_acquire(&dir, &one).unwrap().is_none(), "another open file is another holder");
    assert!(PaneLock::try_acquire(&dir, &two).unwrap().is_some());
    let error = PaneLock::acquire(&dir, &one, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    let waiting = PaneLock::acquire(&dir, &one, Duration::from_secs(10));
    let (second, ()) = tokio::join!(waiting, async { drop(first) });
    let second = second.unwrap();
    assert!(PaneLock::try_acquire(&dir, &one).unwrap().is_none());
    drop(second);
    drop(PaneLock::acquire(&dir, &one, Duration::from_secs(10)).await.unwrap());
    assert!(PaneLock::try_acquire(Path::new("/dev/null/x"), &one).is_err());
}
