//! Python: multiprocessing and asyncio, which put pipes below queues, pools and event loops.

use crate::case::{python, Case};
use crate::emulated::Pipes;

/// `multiprocessing` may re-import the main module, so it needs one: `main.py`.
fn module(script: &str) -> Case {
    Case::new(["python3", "main.py"]).file("main.py", script)
}

#[test]
fn multiprocessing_pipe() {
    module(
        r#"
import multiprocessing as m
def child(c):
    while (x := c.recv()) is not None: c.send(x * 2)
    c.close()
def feed(c):
    for i in range(300): c.send([i] * i)
    c.close()
if __name__ == "__main__":
    here, there = m.Pipe(duplex=True)
    p = m.Process(target=child, args=(there,)); p.start(); there.close()
    for x in (1, "ab", [1] * 50000): here.send(x); r = here.recv(); print(r == x * 2)
    here.send(None); p.join(); print(p.exitcode, here.poll(60))
    try: here.recv()
    except EOFError: print("EOF")
    r, w = m.Pipe(duplex=False)
    p = m.Process(target=feed, args=(w,)); p.start(); w.close(); n = 0
    try:
        while True: n += len(r.recv())
    except EOFError: print(n)
    p.join()
    a, b = m.Pipe(False), m.Pipe(False)
    b[1].send_bytes(b"ready"); print(m.connection.wait([a[0], b[0]]) == [b[0]])
"#,
    )
    .check();
}

#[test]
fn multiprocessing_queue() {
    module(
        r#"
import multiprocessing as m
def work(jobs, done):
    for x in iter(jobs.get, None): done.put((x, x * x))
if __name__ == "__main__":
    jobs, done = m.Queue(), m.Queue()
    p = [m.Process(target=work, args=(jobs, done)) for _ in range(3)]
    [x.start() for x in p]
    for i in range(200): jobs.put(i)
    for _ in p: jobs.put(None)
    print(sum(done.get()[1] for _ in range(200))); [x.join() for x in p]
    q = m.SimpleQueue(); q.put("x" * 1000); print(len(q.get()), q.empty())
    q = m.JoinableQueue(); q.put(1); print(q.get()); q.task_done(); q.join()
"#,
    )
    .check();
}

#[test]
fn multiprocessing_pool() {
    module(
        r#"
import multiprocessing as m
def square(x): return x * x
if __name__ == "__main__":
    with m.Pool(2) as pool:
        print(sum(pool.map(square, range(1000), chunksize=7)))
        print(pool.apply_async(square, (9,)).get(60), sorted(pool.imap_unordered(square, range(5))))
        try: pool.apply(int, ("x",))
        except ValueError as e: print(e)
"#,
    )
    .check();
}

#[test]
fn multiprocessing_by_spawn_and_forkserver() {
    // The fork server is talked to by a Unix socket; resource tracker and sentinels are pipes.
    module(
        r#"
import multiprocessing as m
def child(c, x): c.send(x + 1)
if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        c = m.get_context(method); r, w = c.Pipe(False)
        p = c.Process(target=child, args=(w, 41)); p.start()
        print(method, r.recv()); p.join(); print(p.exitcode)
"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn futures() {
    module(
        r#"
from concurrent.futures import ProcessPoolExecutor, as_completed
def f(x): return sum(range(x))
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as e:
        print(sorted(x.result() for x in as_completed([e.submit(f, n) for n in range(50)]))[-1])
        print(list(e.map(f, range(5), timeout=60)))
"#,
    )
    .check();
}

#[test]
fn a_worker_is_killed() {
    module(
        r#"
import multiprocessing as m, os, signal
def child(c):
    c.send(os.getpid()); c.recv()
if __name__ == "__main__":
    here, there = m.Pipe()
    p = m.Process(target=child, args=(there,)); p.start(); there.close()
    print(here.recv() == p.pid); os.kill(p.pid, signal.SIGKILL)
    print(m.connection.wait([p.sentinel, here], 60) != [])
    try: here.recv()
    except (EOFError, ConnectionResetError): print("gone")
    p.join(); print(p.exitcode)
"#,
    )
    .check();
}

#[test]
fn asyncio_subprocess() {
    python(
        r#"
import asyncio
from asyncio.subprocess import PIPE
async def run(*argv, data=None):
    p = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    return (*await p.communicate(data), p.returncode)
async def main():
    print(await run("seq", "3"), await run("sh", "-c", "echo e >&2; exit 4"))
    out, _, code = await run("cat", data=b"z" * 3000000); print(len(out), code)
    many = await asyncio.gather(*(run("sh", "-c", f"echo {i} | cat") for i in range(12)))
    print([int(o) for o, _, _ in many])
    p = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=PIPE, stdout=PIPE)
    p.stdin.write(b"hello\n"); await p.stdin.drain(); p.stdin.close()
    async for line in p.stdout: print(line)
    print(await p.wait())
    p = await asyncio.create_subprocess_shell("echo up; exec sleep 100", stdout=PIPE)
    print(await p.stdout.readline()); p.terminate(); print(await p.wait())
    p = await asyncio.create_subprocess_exec("sleep", "100", stdout=PIPE)
    try: await asyncio.wait_for(p.communicate(), 0.2)
    except asyncio.TimeoutError: p.kill(); print("timeout", await p.wait())
asyncio.run(main())
"#,
    )
    .check();
}

#[test]
fn asyncio_pipes() {
    python(
        r#"
import asyncio, os
async def main():
    loop = asyncio.get_running_loop()
    r, w = os.pipe()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(r, "rb"))
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(w, "wb"))
    for i in range(2000): transport.write(b"%d\n" % i * 20)
    transport.close()
    print(len(await reader.read()))
    r, w = os.pipe(); got = loop.create_future()
    loop.add_reader(r, lambda: got.done() or got.set_result(os.read(r, 10)))
    loop.call_later(0.05, os.write, w, b"later"); print(await got); loop.remove_reader(r)
    print(await asyncio.to_thread(lambda: (os.write(w, b"thread"), os.read(r, 10))))
asyncio.run(main())
"#,
    )
    .check();
}
