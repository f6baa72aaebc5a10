//! Python's signal module, and its own tests of it.

use crate::case::{python, Case};
use crate::emulated::Pipes;
use std::process::Command;

fn check(case: Case) {
    case.pipes(Pipes::Any).check();
}

#[test]
fn handlers_of_every_signal() {
    check(python(
        r#"
import os, signal
got = []
for s in sorted(signal.valid_signals()):
    if s in (signal.SIGKILL, signal.SIGSTOP): continue
    old = signal.signal(s, lambda n, f: got.append(n))
    os.kill(os.getpid(), s); signal.raise_signal(s)
    assert got[-2:] == [s, s], s
    signal.signal(s, old if old is not None else signal.SIG_DFL)
print(len(got))
"#,
    ));
}

#[test]
fn masks_and_waiting() {
    check(python(
        r#"
import os, signal as s
me = os.getpid(); print(s.pthread_sigmask(s.SIG_BLOCK, [s.SIGUSR1, s.SIGRTMIN]))
os.kill(me, s.SIGUSR1); os.kill(me, s.SIGRTMIN); print(sorted(s.sigpending()))
i = s.sigwaitinfo([s.SIGUSR1]); print(i.si_signo, i.si_code, i.si_pid == me, i.si_uid == os.getuid())
print(s.sigwait([s.SIGRTMIN, s.SIGUSR2]), s.sigtimedwait([s.SIGUSR1], 0.001), s.sigpending())
s.signal(s.SIGUSR1, lambda *a: print("handled")); os.kill(me, s.SIGUSR1)
print(sorted(s.pthread_sigmask(s.SIG_UNBLOCK, [s.SIGUSR1])))
"#,
    ));
}

#[test]
fn threads() {
    check(python(
        r#"
import os, signal as s, threading as t
out = []; s.signal(s.SIGUSR1, lambda *a: out.append(t.current_thread() is t.main_thread()))
def work():
    for _ in range(100): s.pthread_kill(t.main_thread().ident, s.SIGUSR1); os.kill(os.getpid(), s.SIGUSR1)
ts = [t.Thread(target=work) for _ in range(3)]
for x in ts: x.start()
for x in ts: x.join()
print(all(out), len(out) > 0)
s.pthread_sigmask(s.SIG_BLOCK, [s.SIGUSR2])
def wait(): out.append(s.sigwait([s.SIGUSR2]))
w = t.Thread(target=wait); w.start(); s.pthread_kill(w.ident, s.SIGUSR2); w.join(); print(out[-1])
"#,
    ));
}

#[test]
fn wakeup_descriptor() {
    check(python(
        r#"
import os, select, signal as s, socket
a, b = socket.socketpair(); a.setblocking(False); b.setblocking(False); s.set_wakeup_fd(b.fileno())
for n in (s.SIGUSR1, s.SIGUSR2, s.SIGRTMIN): s.signal(n, lambda *x: None); s.raise_signal(n)
print(list(a.recv(99))); s.setitimer(s.ITIMER_REAL, 0.005); s.signal(s.SIGALRM, lambda *x: print("alarm"))
print(select.select([a], [], [])[0] == [a], list(a.recv(9))); s.set_wakeup_fd(-1)
r, w = os.pipe(); os.set_blocking(w, False); s.set_wakeup_fd(w, warn_on_full_buffer=False)
for _ in range(100): s.raise_signal(s.SIGUSR1)
print(len(os.read(r, 1000)))
"#,
    ));
}

#[test]
fn timers() {
    check(python(
        r#"
import signal as s, time
n = 0
def tick(*a):
    global n; n += 1
for which, number in ((s.ITIMER_REAL, s.SIGALRM), (s.ITIMER_VIRTUAL, s.SIGVTALRM), (s.ITIMER_PROF, s.SIGPROF)):
    n = 0; s.signal(number, tick); s.setitimer(which, 0.001, 0.001)
    while n < 20: pass
    s.setitimer(which, 0); print(s.getitimer(which))
s.signal(s.SIGALRM, tick); s.alarm(100); print(95 < s.alarm(0) <= 100)
"#,
    ));
}

#[test]
fn interrupted_calls_are_retried() {
    check(python(
        r#"
import os, signal as s, subprocess, sys, time
n = 0
def tick(*a):
    global n; n += 1
s.signal(s.SIGALRM, tick); s.setitimer(s.ITIMER_REAL, 0.001, 0.001)
r, w = os.pipe(); p = os.fork()
if p == 0:
    s.setitimer(s.ITIMER_REAL, 0); time.sleep(0.05); os.write(w, b"data"); os._exit(3)
print(os.read(r, 99), os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])); time.sleep(0.02)
print(subprocess.run(["sh", "-c", "exit 7"]).returncode, n > 3)
class Stop(Exception): pass
def stop(*a):
    s.setitimer(s.ITIMER_REAL, 0); raise Stop
try: s.signal(s.SIGALRM, stop); os.read(r, 1)
except Stop: print("stopped")
"#,
    ));
}

#[test]
fn children() {
    check(python(
        r#"
import os, signal as s, subprocess, sys, time
done = []; s.signal(s.SIGCHLD, lambda *a: done.append(1))
for i in range(20): assert subprocess.run(["true"]).returncode == 0
print(len(done) > 0)
for n in (s.SIGTERM, s.SIGKILL, s.SIGUSR1):
    for i in range(30):
        p = os.fork()
        if p == 0:
            while True: time.sleep(100)
        os.kill(p, n); assert os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) == -n
p = subprocess.Popen(["sleep", "100"]); p.send_signal(s.SIGSTOP)
print(os.WIFSTOPPED(os.waitpid(p.pid, os.WUNTRACED)[1])); p.send_signal(s.SIGCONT); p.terminate(); print(p.wait())
"#,
    ));
}

#[test]
fn keyboard_interrupt() {
    check(python(
        r#"
import os, signal as s, subprocess, sys
try:
    os.kill(os.getpid(), s.SIGINT)
    while True: pass
except KeyboardInterrupt: print("interrupted")
p = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile 1: pass"],
    stderr=subprocess.PIPE); print(p.returncode, b"KeyboardInterrupt" in p.stderr)
"#,
    ));
}

#[test]
fn faulthandler() {
    check(python(
        r#"
import faulthandler, subprocess, sys
for f in ("_sigsegv", "_sigabrt", "_sigfpe", "_read_null"):
    p = subprocess.run([sys.executable, "-X", "faulthandler", "-c",
        f"import faulthandler, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); faulthandler.{f}()"],
        stderr=subprocess.PIPE)
    print(f, p.returncode, p.stderr.split(b"\n")[0])
"#,
    ));
}

#[test]
fn asyncio_signal_handlers() {
    check(python(
        r#"
import asyncio, os, signal
async def main():
    loop = asyncio.get_running_loop(); got = asyncio.Queue()
    for s in (signal.SIGUSR1, signal.SIGTERM): loop.add_signal_handler(s, got.put_nowait, s)
    for i in range(50):
        os.kill(os.getpid(), signal.SIGUSR1); assert await got.get() == signal.SIGUSR1
    os.kill(os.getpid(), signal.SIGTERM); print(await got.get())
    p = await asyncio.create_subprocess_exec("sleep", "100"); p.send_signal(signal.SIGTERM); print(await p.wait())
asyncio.run(main())
"#,
    ));
}

/// Whether Python has its own tests with it.
fn has_tests(module: &str) -> bool {
    let said = Command::new("python3")
        .args(["-c", &format!("import test.{module}")])
        .output();
    let there = said.is_ok_and(|said| said.status.success());
    if !there {
        eprintln!("skipped: Python's test.{module} is not installed");
    }
    there
}

/// Runs those whose names contain `only` (or, with `!`, do not); says which failed three times in a row.
fn own_tests(module: &str, only: &str) {
    if !has_tests(module) {
        return;
    }
    check(python(&format!(
        r#"
import contextlib, io, sys, unittest, warnings
from test import support
support.SHORT_TIMEOUT = 6.0 # one test waits that long for nothing to happen
from test import {module} as m
warnings.simplefilter("ignore")
def ids(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite): yield from ids(t)
        else: yield t.id()
def run(names):
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    with contextlib.redirect_stdout(io.StringIO()):
        r = unittest.TextTestRunner(stream=io.StringIO(), verbosity=2).run(suite)
    return r.failures + r.errors
only = "{only}"
names = sorted(n for n in ids(unittest.defaultTestLoader.loadTestsFromModule(m))
    if (only[1:] not in n if only[:1] == "!" else only in n))
failed = [t.id() for t, _ in run(names)]
for again in range(2):
    if failed:
        bad = run(failed); failed = [t.id() for t, _ in bad]
        for t, why in bad: print(t.id(), why.split("\n")[-2], file=sys.stderr)
print(len(names), failed)
"#
    )));
}

#[test]
fn pythons_own_test_signal() {
    own_tests("test_signal", "!SiginterruptTest");
}

#[test]
fn pythons_own_test_of_siginterrupt() {
    own_tests("test_signal", "SiginterruptTest");
}

#[test]
fn pythons_own_test_threadsignals() {
    own_tests("test_threadsignals", "");
}
