# gdb(1) starts a program, and goes through it with breakpoints; its numbers and addresses vary.
$CC -g -O0 -w -pthread -o debuggee debuggee.c || exit
names() { sed -E 's/0x[0-9a-f]+/AT/g; s/(process|LWP|child|parent process) [0-9]+/\1 N/g' | grep -v -e 'address space randomization' -e 'Detaching after fork from child'; }
# (A child that it lets go speaks before or after gdb says so.)
debug() { gdb -q -nx -batch -ex 'set confirm off' -ex 'handle SIGUSR1 nostop print pass' "$@" ./debuggee 2>&1 < /dev/null | names; }
debug -ex 'break met' -ex run -ex bt -ex 'print came' -ex c -ex 'print what' -ex c -ex 'print what' -ex c
# Its parent goes on meanwhile, with a standard output of their own.
debug -ex 'set follow-fork-mode child' -ex 'break child' -ex 'run > out' -ex 'bt 1' -ex c
grep 'met 100' out
echo the end
