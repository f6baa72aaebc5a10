//! What a case works on: an empty directory, a copy of this project's tree, compiled helpers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes when the test has passed; after a failure it stays, to be looked at.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ringer-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        kill_who_works_in(&self.0);
        if std::thread::panicking() {
            eprintln!("kept for inspection: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A server that made itself a daemon is in no group of its test's any more, but still in its directory.
fn kill_who_works_in(dir: &Path) {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|n| n.parse().ok());
        let works_in = fs::read_link(process.path().join("cwd"));
        if let (Some(pid), true) = (pid, works_in.is_ok_and(|cwd| cwd.starts_with(dir))) {
            // SAFETY: kill(2) touches no memory of ours.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// The root of this project's workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Copies the sources of this project: what is built or belongs to git is left out.
pub fn copy_of_the_tree(to: &Path) {
    copy(&workspace(), to, 0);
}

fn copy(from: &Path, to: &Path, depth: u32) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    let entries = fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    for entry in entries.flatten() {
        let name = entry.file_name();
        let skipped = name == "target" || name == ".git" || depth > 8;
        // Somebody may be editing the tree: what is gone meanwhile is not copied.
        let Some(meta) = fs::metadata(entry.path()).ok().filter(|_| !skipped) else {
            continue;
        };
        if meta.is_dir() {
            copy(&entry.path(), &to.join(&name), depth + 1);
        } else if meta.is_file() {
            let _ = fs::copy(entry.path(), to.join(&name));
        }
    }
}

/// Whether all of these programs are installed. Says so if not, for the reader of the test's log.
pub fn installed(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let missing: Vec<_> = programs
        .iter()
        .filter(|p| !dirs.iter().any(|d| d.join(p).is_file()))
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

/// The C compiler, as for make(1).
pub fn cc() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".into())
}

/// Compiles a C file to `output`.
pub fn compile(source: &Path, output: &Path, flags: &[&str]) {
    let mut cc = Command::new(cc());
    cc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"]);
    cc.arg("-o").arg(output).arg(source).args(flags);
    let said = cc.output().unwrap_or_else(|e| panic!("{cc:?}: {e}"));
    assert!(
        said.status.success(),
        "{cc:?}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
}

/// cat(1) in so few lines that it can be linked statically anywhere.
pub fn own_cat(output: &Path, flags: &[&str]) {
    let source = output.with_extension("c");
    let text = "#include <unistd.h>\n\
        int main(void)\n{\n\tstatic char buf[65536];\n\tssize_t n;\n\n\
        \twhile ((n = read(0, buf, sizeof buf)) > 0)\n\
        \t\tfor (ssize_t done = 0, w; done < n; done += w)\n\
        \t\t\tif ((w = write(1, buf + done, n - done)) < 0)\n\t\t\t\treturn 1;\n\
        \treturn n < 0;\n}\n";
    fs::write(&source, text).expect("a file in our own directory");
    compile(&source, output, flags);
}
