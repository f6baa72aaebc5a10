//! `ringer ipcs` and `ringer ipcrm`: the System V objects of a session.

use crate::ringer::{native_only, refuses, ringer, ringer_run, run};
use crate::session::Name;
use ringer_support::cc;
use serde_json::Value;

/// A session with three objects, all of whose processes have ended.
fn left_over(topic: &str) -> Name {
    let name = Name::new(topic);
    let make = "ipcmk -S 3 && ipcmk -Q && ipcmk -M 5000 -p 640";
    let ended = run(ringer_run(&["--session", name.text()], &["sh", "-c", make]));
    assert_eq!(ended.status, 0, "{}", ended.stderr());
    name
}

fn objects(name: &Name) -> Vec<Value> {
    let told = run(ringer(["ipcs", "--json", "--session", name.text()]));
    let all: Value = serde_json::from_str(&told.stdout()).expect("JSON");
    all.as_array().expect("a list").clone()
}

#[test]
fn objects_outlive_their_makers_until_they_are_removed() {
    if native_only() {
        return;
    }
    let name = left_over("sysv-left");
    let all = objects(&name);
    let names: Vec<&str> = all.iter().filter_map(|o| o["object"].as_str()).collect();
    assert_eq!(names, ["semset#1", "msg#2", "shmseg#3"]);
    assert_eq!(all[0]["values"], serde_json::json!([0, 0, 0]));
    assert_eq!(
        (&all[1]["messages"], &all[1]["max_bytes"]),
        (&Value::from(0), &Value::from(16384))
    );
    assert_eq!(
        (&all[2]["bytes"], &all[2]["mode"]),
        (&Value::from(5000), &Value::from(0o640))
    );
    let key = format!("{:#x}", all[2]["key"].as_u64().expect("a key"));
    let id = |i: usize| all[i]["id"].to_string();

    let table = run(ringer(["ipcs", "--session", name.text()])).stdout();
    for heading in ["NSEMS", "USED-BYTES", "NATTCH", "OWNER", "PERMS"] {
        assert!(table.contains(heading), "{table}");
    }
    // The next one in the session finds them.
    let look = format!("ipcs -s -i {} && ipcs -m | grep -c 5000", id(0));
    let seen = run(ringer_run(
        &["--session", name.text()],
        &["sh", "-c", &look],
    ));
    assert!(seen.stdout().contains("nsems = 3"), "{}", seen.stdout());

    let rm = |options: &[&str]| {
        let all = ["ipcrm", "--session", name.text()];
        run(ringer([&all, options].concat())).status
    };
    assert_eq!(rm(&["-s", &id(0), "-q", &id(1)]), 0);
    assert_eq!(objects(&name).len(), 1);
    assert_eq!(rm(&["-s", &id(0)]), 1);
    assert_eq!(rm(&["-M", &key]), 0);
    assert_eq!(rm(&["-M", &key]), 1);
    assert!(objects(&name).is_empty());
}

#[test]
fn sessions_do_not_see_each_others_objects() {
    if native_only() {
        return;
    }
    let one = left_over("sysv-one");
    let key = objects(&one)[0]["key"].as_u64().expect("a key");
    let other = Name::new("sysv-other");
    let look = format!("ipcs -s; ipcrm -S {key:#x}");
    let ended = run(ringer_run(
        &["--session", other.text()],
        &["sh", "-c", &look],
    ));
    assert!(!ended.stdout().contains(&format!("{key:08x}")));
    assert_ne!(ended.status, 0);
    assert_eq!(objects(&one).len(), 3);
}

#[test]
fn what_was_waited_for_is_told() {
    if native_only() {
        return;
    }
    let script = r#"use IPC::SysV qw(IPC_PRIVATE IPC_RMID S_IRUSR S_IWUSR); use IPC::Semaphore;
        my $s = IPC::Semaphore->new(IPC_PRIVATE, 1, S_IRUSR | S_IWUSR); my $pid = fork;
        if (!$pid) { $s->op(0, -1, 0); exit 0 }
        select undef, undef, undef, 0.01 until $s->getncnt(0); $s->op(0, 1, 0); waitpid $pid, 0;
        $s->remove;"#;
    let told = run(ringer(["trace", "--", "perl", "-e", script]));
    let lines = told.stderr();
    for line in [
        "blocked on semset#1[0] (-1)",
        "semop(0, +1) = 0",
        "woken after",
        "perl semop",
        "semctl(IPC_RMID) = 0",
    ] {
        assert!(lines.contains(line), "{line} is missing in {lines}");
    }
}

#[test]
fn what_has_a_name_is_removed_by_it() {
    if native_only() {
        return;
    }
    let make = r#"
        #include <fcntl.h>
        #include <mqueue.h>
        #include <semaphore.h>
        #include <sys/mman.h>
        int main(void) {
            return mq_open("/q", O_CREAT | O_RDWR, 0600, 0) < 0 || sem_open("/s", O_CREAT, 0600, 1) == SEM_FAILED
                || shm_open("/m", O_CREAT | O_RDWR, 0600) < 0;
        }"#;
    let name = Name::new("posix-names");
    let program = cc::cc(make).display().to_string();
    let made = run(ringer_run(&["--session", name.text()], &[&program]));
    assert_eq!(made.status, 0, "{}", made.stderr());
    assert_eq!(objects(&name).len(), 3);
    let rm = |option: &str, what: &str| {
        let removed = run(ringer(["ipcrm", "--session", name.text(), option, what]));
        (removed.status, removed.stderr())
    };
    for (option, what, word) in [
        ("--posix-mqueue", "/q", "queue"),
        ("--posix-semaphore", "s", "semaphore"),
        ("--posix-shmem", "/m", "shared memory"),
    ] {
        let (status, said) = rm(option, "/other");
        assert_eq!(status, 1);
        assert!(
            said.contains(&format!("{word} /other: there is none")),
            "{said}"
        );
        assert_eq!(rm(option, what), (0, String::new()));
        assert_eq!(rm(option, what).0, 1);
    }
    assert!(objects(&name).is_empty());
    let left = run(ringer(["sessions", "--json"])).stdout();
    let left: Value = serde_json::from_str(&left).expect("JSON");
    let mine = left.as_array().expect("a list").iter();
    let mine: Vec<_> = mine.filter(|s| s["session"] == name.text()).collect();
    assert_eq!(mine.first().map(|s| &s["names"]), Some(&Value::from(0)));
}

#[test]
fn the_size_of_a_session_counts_its_segments() {
    if native_only() {
        return;
    }
    let name = Name::new("sysv-size");
    let fill = "use IPC::SysV qw(S_IRUSR S_IWUSR); my $m = shmget(77, 8 << 20, 01600); \
                shmwrite($m, 'x' x (8 << 20), 0, 8 << 20)";
    let made = run(ringer_run(
        &["--session", name.text()],
        &["perl", "-e", fill],
    ));
    assert_eq!(made.status, 0, "{}", made.stderr());
    let told = run(ringer(["sessions", "--json"])).stdout();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let mine = told.as_array().expect("a list").iter();
    let bytes = mine
        .filter(|s| s["session"] == name.text())
        .find_map(|s| s["bytes"].as_u64());
    assert!(bytes.is_some_and(|n| n > 8 << 20), "{told}");
}

#[test]
fn ipcrm_wants_a_session_and_an_object() {
    refuses(["ipcrm"]);
    refuses(["ipcrm", "--session", "x"]);
    refuses(["ipcrm", "--posix-mqueue", "/q"]);
    refuses(["ipcrm", "-s", "0"]);
    refuses(["ipcrm", "--session", "no-such-session-at-all", "-s", "0"]);
    refuses(["ipcrm", "--session", "x", "-S", "zero"]);
}
