//! make(1) and its job server: a pipe full of tokens, inherited by every sub-make.

use crate::case::{bash, Case};

/// Three sub-makes of ten targets each.
const TOP: &str = "\
SUBS = a b c
all: $(SUBS)
\t@cat a/all b/all c/all | sort -n | md5sum
$(SUBS):
\t+@mkdir -p $@ && $(MAKE) --no-print-directory -C $@ -f ../sub.mk BASE=$@ all
.PHONY: all $(SUBS)
";

/// Each target has a pipeline in its recipe.
const SUB: &str = "\
OUT = 1 2 3 4 5 6 7 8 9 10
all: $(OUT:%=%.out)
\t@cat $^ > $@
%.out:
\t@seq $*000 | tail -n $* | tee $@ | wc -l > /dev/null
\t@echo $(BASE) $@
";

const FAILING: &str = "\
all: one two three
one three:
\t@seq 100 | tail -n 1; echo $@
two:
\t@seq 100 | head -n 1 | grep -q 2
";

const SHELL: &str = "\
N := $(shell seq 100 | tail -n 1)
M != echo $(N) | tr 1 2
all:
\t@echo $(N) $(M)
";

fn make(script: &str) -> Case {
    let files = [
        ("Makefile", TOP),
        ("sub.mk", SUB),
        ("failing.mk", FAILING),
        ("shell.mk", SHELL),
    ];
    files
        .into_iter()
        .fold(bash(script), |case, (name, text)| case.file(name, text))
        .needs(&["make"])
}

#[test]
fn two_jobs() {
    make("make -j2 > said; echo $?; sort said; cat */*.out | md5sum").check();
}

#[test]
fn two_jobs_with_synchronised_output() {
    make("make -j2 -O > said; echo $?; sort said; cat */*.out | md5sum").check();
}

#[test]
fn eight_jobs_into_a_pipe() {
    make("make -j8 -Orecurse | sort; echo ${PIPESTATUS[*]}").check();
}

#[test]
fn one_job() {
    make("make | cat; make -s -B -j1 | md5sum").check();
}

#[test]
fn a_job_fails() {
    make(
        "make -f failing.mk -j2 -k 2>&1 | sort; echo ${PIPESTATUS[*]}
        make -f failing.mk -j2 -s > said 2>&1; echo $?",
    )
    .check();
}

#[test]
fn the_shell_function() {
    make("make -f shell.mk 2>&1 | cat").check();
}

#[test]
fn the_tokens_are_all_given_back() {
    // At its end make counts the tokens and says "INTERNAL" if some are missing.
    make("make -j4 > /dev/null; make -j4 -B 2>&1 | grep -c INTERNAL; make -j4 -t | wc -l").check();
}
