//! The folder of letters. Its owner is an agent, so it may hold anything: links, pipes, what is huge, what is half
//! written. Nothing in it is followed, waited for, or read beyond its bound, and no path is resolved twice.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use conveyor_model::limits;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::fstat;
use rustix::fs::mkdirat;
use rustix::fs::openat;
use rustix::fs::renameat;
use rustix::fs::statat;
use rustix::fs::unlinkat;
use rustix::io::Errno;

/// Where letters lie in a working directory: each part is opened by itself.
const PARTS: [&str; 2] = [".conveyor", "outbox"];

/// Where a letter lies that was not taken.
const REFUSED: &str = "refused";

/// What begins the name of a letter that is being removed.
const CLAIMED: &str = ".claimed-";

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder of letters, opened without following a link.
pub(super) struct Folder(OwnedFd);

/// What a file is: the same name may be another file later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            seconds: stat.st_mtime,
            nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        }
    }

    /// When it was last written, in milliseconds since 1970.
    pub(super) const fn millis(&self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add(self.nanoseconds / 1_000_000)
    }

    /// The same in words, to be hashed.
    pub(super) fn words(&self) -> String {
        format!("{}:{}:{}:{}", self.device, self.inode, self.seconds, self.nanoseconds)
    }
}

/// What a name in the folder stands for.
pub(super) enum Found {
    /// A file of bounded size.
    File(Identity, Vec<u8>),
    /// Something that is no letter, and why.
    Other(Identity, &'static str),
    /// Nothing any more.
    Gone,
}

impl Folder {
    /// The folder in a working directory; none when there is none.
    pub(super) fn open(workspace: &Path) -> io::Result<Option<Self>> {
        let mut folder = openat(CWD, workspace, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for part in PARTS {
            folder = match openat(&folder, part, FOLDER, Mode::empty()) {
                Ok(inner) => inner,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some(Self(folder)))
    }

    /// The same, made where it is missing. Git is told not to look at it.
    pub(super) fn make(workspace: &Path) -> io::Result<Self> {
        let private = Mode::RWXU;
        let mut folder = openat(CWD, workspace, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for part in PARTS {
            let made = match mkdirat(&folder, part, private) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            folder = openat(&folder, part, FOLDER, Mode::empty())?;
            if made && part == PARTS[0] {
                write_new(&folder, OsStr::new(".gitignore"), b"*\n")?;
            }
        }
        Ok(Self(folder))
    }

    /// The names of letters in their order, a bounded number of them. Leftovers of a removal that was cut short go.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(limits::OUTBOX_ENTRIES) {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name.as_bytes().starts_with(CLAIMED.as_bytes()) {
                // It was noted in the ledger before it was claimed.
                let _ = unlinkat(&self.0, name, AtFlags::empty());
            } else if name.as_bytes().ends_with(b".json") && !name.as_bytes().starts_with(b".") {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.truncate(limits::OUTBOX_LETTERS);
        Ok(names)
    }

    /// What a name stands for. Never blocks: a pipe is opened without waiting for its other end.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Found> {
        let before = match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Gone),
            Err(error) => return Err(error.into()),
        };
        let identity = Identity::of(&before);
        if let Some(why) = no_letter(&before) {
            return Ok(Found::Other(identity, why));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Gone),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Found::Other(identity, "it is no regular file")),
            Err(Errno::ACCESS) => return Ok(Found::Other(identity, "it cannot be read")),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        let identity = Identity::of(&stat);
        if let Some(why) = no_letter(&stat) {
            return Ok(Found::Other(identity, why));
        }
        let mut bytes = Vec::new();
        let limit = limits::OUTBOX_BYTES as u64 + 1;
        std::fs::File::from(file).take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > limits::OUTBOX_BYTES {
            return Ok(Found::Other(identity, "it is too long"));
        }
        Ok(Found::File(identity, bytes))
    }

    /// Writes a letter: whoever lists the folder sees it whole or not at all.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = format!(".{name}.tmp");
        write_new(&self.0, OsStr::new(&unfinished), bytes)?;
        renameat(&self.0, unfinished.as_str(), &self.0, name).map_err(Into::into)
    }

    /// Removes a letter that was taken; another one that has got its name meanwhile stays.
    pub(super) fn remove(&self, name: &OsStr, identity: Identity) -> io::Result<()> {
        if let Some(claimed) = self.claim(name, identity)? {
            unlinkat(&self.0, claimed.as_os_str(), AtFlags::empty())?;
        }
        Ok(())
    }

    /// Moves a letter aside that was not taken, with the reason beside it.
    pub(super) fn refuse(&self, name: &OsStr, identity: Identity, reason: &str) -> io::Result<()> {
        match mkdirat(&self.0, REFUSED, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let aside = openat(&self.0, REFUSED, FOLDER, Mode::empty())?;
        let Some(claimed) = self.claim(name, identity)? else { return Ok(()) };
        renameat(&self.0, claimed.as_os_str(), &aside, name)?;
        let mut note = name.to_owned();
        note.push(".reason");
        // An older note of that name is only a note.
        let _ = unlinkat(&aside, note.as_os_str(), AtFlags::empty());
        write_new(&aside, &note, format!("{reason}\n").as_bytes())
    }

    /// Takes a file out of the way of its name; none when the name stands for another file by now.
    fn claim(&self, name: &OsStr, identity: Identity) -> io::Result<Option<OsString>> {
        let mut claimed = OsString::from(CLAIMED);
        claimed.push(name);
        match renameat(&self.0, name, &self.0, claimed.as_os_str()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let stat = statat(&self.0, claimed.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if Identity::of(&stat) == identity {
            return Ok(Some(claimed));
        }
        // Under a name of its own, so that what may have come meanwhile is not replaced.
        let mut again = OsString::from(format!("{}-", stat.st_ino));
        again.push(name);
        renameat(&self.0, claimed.as_os_str(), &self.0, again.as_os_str())?;
        Ok(None)
    }
}

/// Why a file is no letter.
fn no_letter(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Some("it is a link"),
        FileType::Directory => return Some("it is a folder"),
        _ => return Some("it is no regular file"),
    }
    if stat.st_nlink != 1 {
        return Some("it has another name elsewhere");
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    (u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limits::OUTBOX_BYTES as u64)
        .then_some("it is too long")
}

fn write_new(folder: &OwnedFd, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    file.sync_all()
}
