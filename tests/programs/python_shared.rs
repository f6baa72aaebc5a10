//! Python's multiprocessing: queues, pools, locks, semaphores and shared memory between processes.

use crate::case::python;

fn with(method: &str, body: &str) {
    python(&format!(
        r#"
import multiprocessing as mp
from multiprocessing import shared_memory
def work(tasks, results, lock, total, done):
    for x in iter(tasks.get, None):
        with lock: total.value += x
        results.put(x * x)
    done.release()
def square(x): return x * x
ctx = mp.get_context("{method}")
{body}
"#
    ))
    .check();
}

#[test]
fn queues_locks_and_semaphores() {
    with(
        "fork",
        r#"
tasks, results = ctx.Queue(), ctx.Queue()
lock, total, done = ctx.Lock(), ctx.Value("i", 0), ctx.Semaphore(0)
everybody = [ctx.Process(target=work, args=(tasks, results, lock, total, done)) for _ in range(3)]
for p in everybody: p.start()
for i in range(200): tasks.put(i)
for _ in everybody: tasks.put(None)
print(sorted(results.get() for _ in range(200))[-3:], total.value)
for p in everybody: done.acquire()
for p in everybody: p.join()
print([p.exitcode for p in everybody], done.get_value())
"#,
    );
}

#[test]
fn pools() {
    with(
        "fork",
        r#"
with ctx.Pool(3) as pool:
    print(sum(pool.map(square, range(1000), 10)), pool.apply(square, (7,)))
    print(sorted(pool.imap_unordered(square, range(50)))[-2:])
"#,
    );
}

#[test]
fn shared_memory_by_name() {
    with(
        "fork",
        r#"
m = shared_memory.SharedMemory(create=True, size=1000)
def write(name):
    n = shared_memory.SharedMemory(name); n.buf[:5] = b"child"; n.close()
p = ctx.Process(target=write, args=(m.name,)); p.start(); p.join()
print(bytes(m.buf[:5]), m.size, p.exitcode)
m.close(); m.unlink()
try: shared_memory.SharedMemory(m.name)
except FileNotFoundError as e: print("gone")
"#,
    );
}

#[test]
fn events_conditions_and_barriers() {
    with(
        "fork",
        r#"
event, barrier, cond, n = ctx.Event(), ctx.Barrier(4), ctx.Condition(), ctx.Value("i", 0)
def member(i):
    barrier.wait(); event.wait()
    with cond: n.value += i; cond.notify_all()
everybody = [ctx.Process(target=member, args=(i,)) for i in range(3)]
for p in everybody: p.start()
barrier.wait(); event.set()
with cond: cond.wait_for(lambda: n.value == 3)
for p in everybody: p.join()
print(n.value, [p.exitcode for p in everybody])
"#,
    );
}
