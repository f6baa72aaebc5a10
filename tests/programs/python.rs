//! Python: subprocess, os.pipe and what is built on them.

use crate::case::{bash, python};

#[test]
fn subprocess_run() {
    python(
        r#"
import subprocess as s
print(s.run(["seq", "5"], capture_output=True, text=True).stdout.split())
print(s.run(["cat"], input=b"x" * 100000, stdout=s.PIPE).stdout == b"x" * 100000)
r = s.run("echo out; echo err >&2; exit 7", shell=True, capture_output=True, text=True)
print(r.returncode, r.stdout, r.stderr)
print(s.run(["sh", "-c", "kill -9 $$"]).returncode, s.getoutput("seq 3 | tac | paste -sd,"))
print(s.run("yes | head -n 1", shell=True, stdout=s.PIPE, stderr=s.STDOUT).stdout)
try: s.run(["/nonexistent"])
except FileNotFoundError as e: print(e)
try: s.check_output(["false"])
except s.CalledProcessError as e: print(e)
"#,
    )
    .check();
}

#[test]
fn subprocess_pipeline() {
    python(
        r#"
from subprocess import Popen, PIPE
a = Popen(["seq", "100000"], stdout=PIPE)
b = Popen(["sort", "-rn"], stdin=a.stdout, stdout=PIPE); a.stdout.close()
c = Popen(["head", "-n", "3"], stdin=b.stdout, stdout=PIPE); b.stdout.close()
print(c.communicate()[0], a.wait(), b.wait() in (0, -13), c.returncode)
"#,
    )
    .check();
}

#[test]
fn ten_megabytes_both_ways() {
    python(
        r#"
from subprocess import Popen, PIPE
import hashlib
data = bytes(i * 31 % 251 for i in range(1 << 20)) * 10
p = Popen(["cat"], stdin=PIPE, stdout=PIPE)
out, _ = p.communicate(data)
print(len(out), out == data, p.returncode)
p = Popen(["sh", "-c", "tee /dev/stderr"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
out, err = p.communicate(data)
print(hashlib.md5(out).hexdigest(), out == err, p.returncode)
"#,
    )
    .check();
}

#[test]
fn timeouts() {
    python(
        r#"
import subprocess as s
p = s.Popen("echo partial; exec sleep 100", shell=True, stdout=s.PIPE)
print(p.stdout.readline())
try: p.communicate(timeout=0.2)
except s.TimeoutExpired as e: print("timeout", e.timeout)
p.kill(); print(p.communicate(), p.returncode)
try: s.run(["sleep", "100"], timeout=0.2, capture_output=True)
except s.TimeoutExpired: print("timeout")
p = s.Popen(["cat"], stdin=s.PIPE, stdout=s.PIPE)
try: p.communicate(b"x" * 1000000, timeout=60)
except s.TimeoutExpired: print("too slow")
p.wait(); print(p.returncode)
"#,
    )
    .check();
}

#[test]
fn threads_read_and_write() {
    python(
        r#"
import subprocess, threading
p = subprocess.Popen(["tr", "a-z", "A-Z"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
got = []
def read(): got.append(p.stdout.read())
def write():
    for i in range(20000): p.stdin.write(b"line %d\n" % i)
    p.stdin.close()
t = [threading.Thread(target=f) for f in (read, write)]
[x.start() for x in t]; [x.join() for x in t]
print(p.wait(), len(got[0]), got[0][-11:])
r, w = __import__("os").pipe()
def many(n):
    for _ in range(500): __import__("os").write(w, b"%d" % n * 10)
t = [threading.Thread(target=many, args=(n,)) for n in range(8)]
[x.start() for x in t]
data = b""
while len(data) < 40000: data += __import__("os").read(r, 4096)
[x.join() for x in t]
print(sorted(data[i:i + 10].decode() for i in range(0, 40000, 10))[::500])
"#,
    )
    .check();
}

#[test]
fn close_fds_and_pass_fds() {
    python(
        r#"
import os, subprocess as s
r, w = os.pipe()
sh = lambda text, **o: s.run(["sh", "-c", text], stderr=s.DEVNULL, stdout=s.PIPE, **o)
print(sh(f"echo lost >&{w}").returncode != 0)
print(sh(f"echo passed >&{w}", pass_fds=[w]).returncode, os.read(r, 100))
os.set_inheritable(w, True)
print(sh(f"echo kept >&{w}", close_fds=False).returncode, os.read(r, 100))
print(os.get_inheritable(r), os.get_inheritable(w))
os.write(w, b"from the parent\n"); os.close(w)
print(sh(f"cat <&{r}", pass_fds=[r]).stdout)
"#,
    )
    .check();
}

#[test]
fn pipe_and_fork() {
    python(
        r#"
import os, hashlib
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    with os.fdopen(w, "wb") as f: f.writelines(b"%d\n" % i for i in range(200000))
    os._exit(5)
os.close(w)
with os.fdopen(r, "rb") as f: print(hashlib.md5(f.read()).hexdigest())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
a, b = os.pipe(), os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
try: os.read(b[0], 1)
except BlockingIOError as e: print(e)
print(os.get_blocking(a[0]), os.get_blocking(b[1]), os.isatty(a[0]))
try: os.lseek(a[0], 0, 0)
except OSError as e: print(e)
n = 0
try:
    while True: n += os.write(b[1], b"x" * 4096)
except BlockingIOError: print(n)
"#,
    )
    .check();
}

#[test]
fn popen_of_os() {
    python(
        r#"
import os, sys
print(os.popen("seq 1000 | tail -n 2").read())
f = os.popen("exit 3"); f.read(); print(os.waitstatus_to_exitcode(f.close()))
sys.stdout.flush()
f = os.popen("sort -n", "w"); print("3\n1\n2", file=f); print(f.close())
print(os.system("echo x | cat"), [line for line in os.popen("printf 'a\nb'")])
"#,
    )
    .check();
}

#[test]
fn selectors() {
    python(
        r#"
import os, selectors, subprocess as s
for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
    sel, total = kind(), {}
    for name, n in (("a", 1000), ("b", 50000), ("c", 1)):
        p = s.Popen(["seq", str(n)], stdout=s.PIPE)
        os.set_blocking(p.stdout.fileno(), False)
        sel.register(p.stdout, selectors.EVENT_READ, (name, p)); total[name] = 0
    while sel.get_map():
        for key, _ in sel.select():
            data = os.read(key.fd, 3000)
            if not data: sel.unregister(key.fileobj); key.data[1].wait()
            total[key.data[0]] += len(data)
    print(kind.__name__, total, sel.select(0))
r, w = os.pipe()
with selectors.DefaultSelector() as sel:
    sel.register(w, selectors.EVENT_WRITE)
    os.set_blocking(w, False)
    n = 0
    while sel.select(0): n += os.write(w, b"y" * 5000)
    print(n > 0, sel.select(0.05)); os.read(r, 65536)
    print([e for _, e in sel.select(60)])
"#,
    )
    .check();
}

#[test]
fn reader_closed() {
    bash(
        r#"python3 -c '
import sys, time
try:
    while True: print("line"); sys.stdout.flush()
except BrokenPipeError: print("BrokenPipeError", file=sys.stderr); sys.stderr.flush()
sys.stdout = None; __import__("os").close(1)' | head -n 1; echo ${PIPESTATUS[*]}
        python3 -c '
import os, signal
r, w = os.pipe(); os.close(r)
try: os.write(w, b"x")
except BrokenPipeError as e: print(e.errno)
signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.write(w, b"x")'; echo $?"#,
    )
    .needs(&["python3"])
    .check();
}

#[test]
fn interpreter_on_a_pipe() {
    bash(
        r#"echo 'print(sum(range(10)))' | python3 | cat; seq 10 | python3 -c '
import sys
print(sum(map(int, sys.stdin)), sys.stdin.isatty())'
        python3 - <<< 'print("from a here string")' | tr a-z A-Z"#,
    )
    .needs(&["python3"])
    .check();
}

#[test]
fn wakeup_fd() {
    python(
        r#"
import os, signal, select
r, w = os.pipe(); os.set_blocking(w, False); os.set_blocking(r, False)
signal.set_wakeup_fd(w); signal.signal(signal.SIGUSR1, lambda *a: None)
for _ in range(3):
    os.kill(os.getpid(), signal.SIGUSR1)
    print(select.select([r], [], [], 60)[0] == [r], os.read(r, 10))
signal.signal(signal.SIGALRM, lambda *a: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.05)
q = os.pipe(); print(select.select([r], [], [], 60)[0] == [r])
"#,
    )
    .check();
}
