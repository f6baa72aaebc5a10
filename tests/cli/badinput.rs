//! Sessions that are none: whatever RINGER_SESSION names, the program runs as without ringer, and
//! at most one sentence says why.

use crate::fixture::TempDir;
use crate::guard::Ended;
use crate::ringer::{native, native_only, preloaded, ringer_run, run, run_in};
use crate::session::{Session, VARIABLE};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Four programs, three pipes, a status.
pub const SCRIPT: &str = "seq 1000 | sort -rn | cat | head -n 3; exit 3";

/// Asserts that a run was the native one, but for one sentence of ringer's at most.
pub fn assert_as_native(ended: &Ended, native: &Ended, what: &str) {
    let (said, rest): (Vec<_>, Vec<_>) = split(&ended.stderr());
    assert!(said.len() <= 1, "{what}: more than one sentence: {said:#?}");
    let stdout = ended.stdout();
    assert_eq!(
        (stdout, ended.status),
        (native.stdout(), native.status),
        "{what}: {said:?}"
    );
    assert_eq!(rest.concat(), native.stderr(), "{what}");
}

/// The lines of ringer's, and the others.
fn split(stderr: &str) -> (Vec<String>, Vec<String>) {
    stderr
        .split_inclusive('\n')
        .map(str::to_owned)
        .partition(|l| l.starts_with("ringer:"))
}

/// A shimmed program that is told to join `session` runs as a native one does.
fn joins_nothing(session: &OsStr) {
    joins_nothing_in(Path::new("."), session);
}

fn joins_nothing_in(dir: &Path, session: &OsStr) {
    let argv = ["sh", "-c", SCRIPT];
    let mut command = preloaded(&argv);
    command.env(VARIABLE, session);
    let ended = if dir == Path::new(".") {
        run(command)
    } else {
        run_in(dir, command)
    };
    let what = format!("{VARIABLE}={}", session.to_string_lossy());
    assert_as_native(&ended, &run(native(&argv)), &what);
}

#[test]
fn without_a_session() {
    let argv = ["sh", "-c", SCRIPT];
    assert_eq!(
        run(preloaded(&argv)),
        run(native(&argv)),
        "LD_PRELOAD alone says nothing"
    );
}

#[test]
fn names_of_no_file() {
    for name in [
        "",
        " ",
        "nowhere",
        "/no/such/file",
        "/",
        ".",
        "..",
        "/dev/shm",
        "a\nb",
    ] {
        joins_nothing(OsStr::new(name));
    }
    joins_nothing(&OsString::from_vec(vec![0xff, 0xfe, b'/', 0x80]));
    joins_nothing(OsStr::new(&"x".repeat(5000)));
    joins_nothing(OsStr::new(&"%s%n\u{1b}[31m".repeat(20)));
}

#[test]
fn devices() {
    for name in [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/tty",
        "/dev/stdin",
        "/proc/self/mem",
    ] {
        joins_nothing(OsStr::new(name));
    }
}

#[test]
fn foreign_files() {
    let dir = TempDir::new();
    let texts: [(&str, Vec<u8>); 4] = [
        ("empty", Vec::new()),
        ("text", b"not an arena\n".repeat(1000)),
        ("zeroes", vec![0; 1 << 20]),
        ("ones", vec![0xff; 1 << 20]),
    ];
    for (name, text) in texts {
        let path = dir.path().join(name);
        fs::write(&path, &text).expect("a file in our own directory");
        joins_nothing(path.as_os_str());
        assert!(
            fs::read(&path).expect("our own file") == text,
            "{name} was written to"
        );
    }
    joins_nothing_in(dir.path(), OsStr::new("text"));
    joins_nothing(
        std::env::current_exe()
            .expect("this test binary")
            .as_os_str(),
    );
}

/// Opening a FIFO waits for the other end: ringer must not.
#[test]
fn fifo_and_links() {
    let dir = TempDir::new();
    let made = run_in(
        dir.path(),
        native(&["sh", "-c", "mkfifo fifo; ln -s loop loop; ln -s . dir"]),
    );
    assert_eq!(made.status, 0);
    for name in ["fifo", "loop", "dir"] {
        joins_nothing(dir.path().join(name).as_os_str());
    }
}

/// A copy of a live session's arena, to be spoilt.
fn copy_of_an_arena(dir: &TempDir, name: &str) -> std::path::PathBuf {
    let session = Session::start(name);
    let copy = dir.path().join(name);
    fs::copy(session.arena(), &copy).expect("the arena is a file");
    assert_eq!(session.end(), "hello");
    copy
}

#[test]
fn truncated_arena() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let copy = copy_of_an_arena(&dir, "truncated");
    let len = fs::metadata(&copy).expect("our own file").len();
    for len in [len - 1, len / 2, 65536, 4097, 4096, 4095, 64, 63, 8, 1, 0] {
        let file = fs::File::options()
            .write(true)
            .open(&copy)
            .expect("our own file");
        file.set_len(len).expect("truncation");
        joins_nothing(copy.as_os_str());
    }
}

/// Magic number, layout version, build and length come first, each checked before the next.
#[test]
fn corrupted_header() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let copy = copy_of_an_arena(&dir, "corrupted");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&copy)
        .expect("our own file");
    for at in (0..64).step_by(4) {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, at).expect("the header");
        for spoilt in [word.map(|b| !b), [0; 4], [0xff; 4]] {
            file.write_all_at(&spoilt, at).expect("our own file");
            joins_nothing(copy.as_os_str());
        }
        file.write_all_at(&word, at).expect("our own file");
    }
}

/// The dead of a copied arena are dead here as well: nobody may wait for them.
#[test]
fn copied_arena() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let copy = copy_of_an_arena(&dir, "copied");
    joins_nothing(copy.as_os_str());
}

/// `ringer run` makes its own session, whatever the environment says.
#[test]
fn a_run_has_its_own_session() {
    for name in ["", "nonsense", "/dev/zero", "/etc/passwd"] {
        let argv = ["sh", "-c", SCRIPT];
        let mut command = ringer_run(&[], &argv);
        command.env(VARIABLE, name);
        assert_eq!(run(command), run(native(&argv)), "{VARIABLE}={name}");
    }
}
