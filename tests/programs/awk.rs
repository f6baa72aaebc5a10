//! awk(1) as the middle of a pipeline, and at both ends of pipes of its own.

use crate::case::same_as_native;

#[test]
fn reads_from_a_command() {
    same_as_native(
        r#"awk 'BEGIN { c = "seq 1000"; while ((c | getline x) > 0) s += x; print s, close(c)
            c = "date -u -d @0 +%Y"; c | getline year; print year }'
        awk 'BEGIN { c = "exit 3"; while ((c | getline) > 0); close(c); print "done" }'"#,
    );
}

#[test]
fn writes_to_a_command() {
    same_as_native(
        r#"awk 'BEGIN { c = "sort -n | md5sum"
            for (i = 0; i < 2000; i++) print (i * 7919) % 2003 | c
            close(c); print "after" }'"#,
    );
}

#[test]
fn writes_to_several_commands() {
    same_as_native(
        r#"seq 3000 | awk '{ print | "cat > mod" $1 % 3 }
            END { for (i = 0; i < 3; i++) close("cat > mod" i); system("wc -l mod0 mod1 mod2") }'"#,
    );
}

#[test]
fn stands_in_a_pipeline() {
    same_as_native(
        r#"seq 100000 | awk '{ s += $1; if (NR % 1000 == 0) { print s; fflush() } }' | tail -n 1
        seq 10 | awk 'NR == 3 { exit 4 } { print }'; echo ${PIPESTATUS[1]}"#,
    );
}

#[test]
fn runs_commands_in_between() {
    same_as_native(
        r#"seq 3 | awk '{ print "line", $1; fflush(); system("echo from system " $1) }' | cat"#,
    );
}
