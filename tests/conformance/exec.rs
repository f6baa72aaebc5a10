//! exec(3) with pipes: the program goes, the descriptors stay. See execve(2).

mod scenes;

use ringer_support::prelude::*;
use scenes::scenes;

scenes!(any_program, Dynamic);

both_worlds!(a_pipeline_of_the_shell_works, {
    let p = pipe();
    let child = fork_run(|| {
        dup2(&p.w, 1).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        let script = "seq 1 5000 | sort -rn | (cat; echo end) | tail -n 3 | tr '\\n' ' '";
        exec("/bin/sh".as_ref(), &["-c", script]);
    });
    drop(p.w);
    assert_eq!(String::from_utf8(read_to_end(&p.r)).unwrap(), "2 1 end ");
    child.succeeds();
});

both_worlds!(head_ends_a_pipeline_by_sigpipe, {
    let p = pipe();
    let child = fork_run(|| {
        signal::default(SIGPIPE);
        dup2(&p.w, 1).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        exec("/bin/sh".as_ref(), &["-c", "yes | head -c 100000 | wc -c"]);
    });
    drop(p.w);
    assert_eq!(
        String::from_utf8(read_to_end(&p.r)).unwrap().trim(),
        "100000"
    );
    child.succeeds();
});

both_worlds!(a_here_document_and_command_substitution_work, {
    let p = pipe();
    let child = fork_run(|| {
        dup2(&p.w, 1).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        let script =
            "x=$(cat <<E\nhello $((1+1))\nE\n); for i in 1 2 3; do echo \"$x $(echo $i)\"; done";
        exec("/bin/sh".as_ref(), &["-c", script]);
    });
    drop(p.w);
    assert_eq!(read_to_end(&p.r), b"hello 2 1\nhello 2 2\nhello 2 3\n");
    child.succeeds();
});

both_worlds!(std_process_talks_to_its_children, {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&stream(0, 500_000)).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(output.stdout == stream(0, 500_000));
    // A program that does not exist is reported through a pipe of std's own.
    let missing = Command::new("/nonexistent/program").spawn();
    assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
});
