use std::fs;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use super::*;

/// Far above what a wake takes, which is milliseconds: only a wake that never comes reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("no wake came") })
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn growth_between_subscribing_and_waiting_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("a"), folder.path().join("b"));
    append(&file, "x");
    append(&other, "x");
    let mut watch = Watch::new().unwrap();
    watch.add(&file).unwrap();
    append(&other, "y");
    append(&file, "y");
    assert_eq!(run(watch.changed()).unwrap(), BTreeSet::from([file]));
}

#[test]
fn each_of_a_hundred_growths_wakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    let mut watch = Watch::new().unwrap();
    watch.add(&file).unwrap();
    for _ in 0..100 {
        append(&file, "x");
        // A growth may be told twice; what must not happen is that the last one is never told.
        assert!(run(watch.changed()).unwrap().contains(&file));
    }
}

#[test]
fn reading_does_not_wake() {
    let folder = tempfile::tempdir().unwrap();
    let (read, grows) = (folder.path().join("a"), folder.path().join("b"));
    append(&read, "x");
    let mut watch = Watch::new().unwrap();
    watch.add(&read).unwrap();
    watch.add(&grows).unwrap();
    fs::read(&read).unwrap();
    append(&grows, "x");
    assert_eq!(run(watch.changed()).unwrap(), BTreeSet::from([grows]));
}

#[test]
fn a_file_in_folders_that_do_not_exist_yet_is_told() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("sessions/2026/11/22/rollout.jsonl");
    let mut watch = Watch::new().unwrap();
    watch.add(&file).unwrap();
    run(async {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        append(&file, "x");
        assert!(watch.changed().await.unwrap().contains(&file));
        while Some(watch.files[&file].as_path()) != file.parent() {
            watch.changed().await.unwrap();
        }
        append(&file, "y");
        assert!(watch.changed().await.unwrap().contains(&file));
    });
}

#[test]
fn a_replaced_file_and_a_removed_folder_are_told() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("day");
    let file = folder.join("a");
    fs::create_dir(&folder).unwrap();
    append(&file, "x");
    let mut watch = Watch::new().unwrap();
    watch.add(&file).unwrap();
    append(&root.path().join("new"), "y");
    fs::rename(root.path().join("new"), &file).unwrap();
    assert!(run(watch.changed()).unwrap().contains(&file));
    fs::remove_dir_all(&folder).unwrap();
    run(async {
        while watch.files[&file] == folder {
            watch.changed().await.unwrap();
        }
    });
    fs::create_dir(&folder).unwrap();
    append(&file, "z");
    assert!(run(watch.changed()).unwrap().contains(&file));
}

#[test]
fn a_new_name_in_a_watched_folder_is_told_and_growth_of_a_strangers_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (born, stranger) = (folder.path().join("born"), folder.path().join("stranger"));
    append(&stranger, "x");
    let mut watch = Watch::new().unwrap();
    let folders = BTreeSet::from([folder.path().to_owned(), folder.path().join("absent")]);
    assert!(watch.watch_folders(&folders).unwrap());
    assert!(!watch.watch_folders(&folders).unwrap(), "it is watched already");
    append(&stranger, "y");
    append(&born, "");
    assert_eq!(run(watch.changed()).unwrap(), BTreeSet::from([born.clone()]));
    // The file is followed from now on; the folder stays watched when the file is not.
    watch.add(&born).unwrap();
    watch.remove(&born);
    let second = folder.path().join("second");
    append(&second, "");
    assert_eq!(run(watch.changed()).unwrap(), BTreeSet::from([second]));
}
