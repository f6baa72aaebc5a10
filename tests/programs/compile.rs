//! Compilers, which can pass the assembler its input through a pipe.

use crate::case::{bash, Case};

const C: &str = "\
#include <stdio.h>

int main(void)
{
\tputs(\"compiled\");
\treturn 0;
}
";

const CXX: &str = "\
#include <algorithm>
#include <iostream>
#include <vector>

int main()
{
    std::vector<int> v{3, 1, 2};
    std::sort(v.begin(), v.end());
    for (int n : v)
        std::cout << n << '\\n';
}
";

fn sources(script: &str) -> Case {
    bash(script)
        .file("hello.c", C)
        .file("sort.cc", CXX)
        .needs(&["as"])
}

#[test]
fn c_with_pipe() {
    sources("\"$CC\" -pipe -c hello.c && \"$CC\" hello.o -o hello && ./hello | tr a-z A-Z").check();
}

#[test]
fn cxx_with_pipe() {
    sources("g++ -pipe -O1 sort.cc -o sort && ./sort | tac")
        .needs(&["g++"])
        .check();
}

#[test]
fn stages_by_hand() {
    sources(
        "\"$CC\" -E hello.c | \"$CC\" -xc -S - -o - | as -o hello.o - && \"$CC\" hello.o && ./a.out | cat
        nm hello.o | awk '$2 == \"T\"'; objdump -d hello.o | grep -c ret",
    )
    .needs(&["nm", "objdump"])
    .check();
}

#[test]
fn an_error_is_reported() {
    sources("echo 'int main(void) { return x; }' | \"$CC\" -pipe -xc - 2>&1 | grep -c error")
        .check();
}

#[test]
fn several_at_once() {
    sources(
        "for i in 1 2 3 4; do sed s/compiled/number$i/ hello.c > $i.c; done
        ls ?.c | xargs -P 3 -I{} \"$CC\" -pipe {} -o {}.out && for i in ?.c.out; do ./$i; done | sort",
    )
    .check();
}
