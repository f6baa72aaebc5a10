//! git(1): pagers, packs, archives, filters and hooks all talk through pipes.

use crate::case::{bash, Case};
use crate::emulated::Pipes;

/// A repository with 200 commits, the same one everywhere, made through a pipe.
const REPOSITORY: &str = r#"
    git -c init.defaultBranch=main init -q repo && cd repo || exit 1
    awk 'BEGIN { for (n = 1; n <= 200; n++) {
        at = 1000000000 + n; message = "commit " n "\n\nbody of " n "\n"
        print "commit refs/heads/main"; print "committer A Tester <t@example.org> " at " +0000"
        print "data " length(message); printf "%s", message
        text = ""; for (i = 0; i < n % 40; i++) text = text "line " i " of " n "\n"
        print "M 100644 inline dir" n % 7 "/file" n % 23; print "data " length(text)
        printf "%s\n", text } }' | git fast-import --quiet
    git reset -q --hard main
"#;

fn git(script: &str) -> Case {
    bash(&format!("{REPOSITORY}{script}")).needs(&["git"])
}

#[test]
fn log_and_head() {
    git(
        "git log | head -n 7; git log --oneline | head -c 50; echo ${PIPESTATUS[1]}
        git rev-list --count HEAD; git log --format=%H | sort | sha256sum",
    )
    .check();
}

#[test]
fn log_with_patches() {
    git("git log -p | wc; git log -p --stat | sha256sum; git log --reverse | sed 3q").check();
}

#[test]
fn diff_of_files() {
    git(
        "seq 100 > a; seq 2 101 > b; git diff --no-index a b | cat; echo ${PIPESTATUS[*]}
        git diff --no-index --word-diff a b | md5sum
        git diff HEAD~3 | git apply -R --check; echo $?",
    )
    .check();
}

#[test]
fn archive_and_tar() {
    git("git archive HEAD | tar t | sort | md5sum
        git archive --format=tar.gz HEAD | tar xzO | md5sum")
    .check();
}

#[test]
fn pager() {
    // git wants a terminal for that, and script(1) is one.
    git(
        "script -qec \"GIT_PAGER='sed s/^/P:/' git log --oneline -n 3\" /dev/null < /dev/null
        script -qec \"GIT_PAGER='head -n 1' git log\" /dev/null < /dev/null
        GIT_PAGER=false git log --oneline -n 2 | cat",
    )
    .needs(&["script"])
    .check();
}

#[test]
fn clone_push_and_fsck() {
    git(
        "git clone -q --no-local . ../clone && cd ../clone && git rev-parse HEAD
        git commit -q --allow-empty -m more && git push -q origin HEAD:topic && cd ../repo
        git log -n 1 --format=%s topic; git fsck --full 2>&1 | cat",
    )
    .check();
}

#[test]
fn plumbing() {
    git(
        "git ls-files -s | git update-index --index-info; git status --short | wc -l
        git rev-list --objects --all | cut -c 1-40 | git cat-file --batch-check | sort | md5sum
        echo HEAD | git pack-objects --revs --stdout -q | git index-pack --stdin > /dev/null
        git ls-files | git hash-object --stdin-paths | sort -u | md5sum",
    )
    .check();
}

#[test]
fn hooks() {
    git("printf '#!/bin/sh\\nread a b c; echo \"pushed $c\" | tr a-z A-Z >&2\\n' > .git/hooks/pre-push
        printf '#!/bin/sh\\nread a b; test -n \"$b\" && cat | wc -l >&2\\n' > .git/hooks/post-rewrite
        chmod +x .git/hooks/*; git init -q --bare ../bare; git push -q ../bare main
        git commit -q --amend -m amended")
    .check();
}

#[test]
fn filters() {
    git(
        "git config filter.up.clean 'tr a-z A-Z'; git config filter.up.smudge 'tr A-Z a-z | rev'
        echo '*.up filter=up' > .gitattributes; echo Text > x.up; git add -A; git commit -qm filter
        git show HEAD:x.up; rm x.up; git checkout -q x.up; cat x.up",
    )
    .needs(&["rev"])
    .check();
}

#[test]
fn many_small_commits() {
    git(
        "for i in {1..15}; do echo $i > new; git add new; git commit -qm \"new $i\"; done
        git log --oneline | wc -l; git gc --quiet; git count-objects | cut -d ' ' -f 1",
    )
    .pipes(Pipes::Any)
    .check();
}
