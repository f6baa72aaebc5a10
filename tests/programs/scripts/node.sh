# Node.js (libuv): children by pipes, workers, a cluster on a Unix socket, signals between processes.
rounds=50
[ "$LONG" ] && rounds=5000
cat >all.js <<'END'
const cp = require('child_process'), net = require('net'), { Worker } = require('worker_threads'), cluster = require('cluster');
const rounds = +process.argv[2];
const once = (e, n) => new Promise(r => e.once(n, (...a) => r(a)));
const sh = c => new Promise(r => cp.exec(c, (e, out, err) => r([e ? e.code : 0, out, err])));
async function children() {
    console.log(await sh('seq 100000 | tail -n 1; echo bad >&2; exit 3'));
    const cat = cp.spawn('cat'); let n = 0; cat.stdout.on('data', d => n += d.length);
    for (let i = 0; i < rounds; i++) cat.stdin.write('x'.repeat(10000)); cat.stdin.end();
    console.log(await once(cat, 'close'), n === rounds * 10000);
    const sleeper = cp.spawn('sleep', ['50']); await once(sleeper, 'spawn'); sleeper.kill('SIGTERM');
    console.log(await once(sleeper, 'exit'), cp.spawnSync('tr', ['a-z', 'A-Z'], { input: 'sync' }).stdout.toString());
}
async function workers() {
    const all = [1, 2, 3].map(n => new Worker(`const { parentPort, workerData } = require('worker_threads');
        parentPort.on('message', m => m === null ? parentPort.close() : parentPort.postMessage(m + workerData));`, { eval: true, workerData: n }));
    let sum = 0;
    for (const w of all) for (let i = 0; i < rounds; i++) { w.postMessage(i); sum += (await once(w, 'message'))[0]; }
    for (const w of all) { w.postMessage(null); await once(w, 'exit'); }
    console.log('workers', sum === 3 * rounds * (rounds - 1) / 2 + 6 * rounds);
}
async function echo(path) {
    let ok = 0;
    for (let i = 0; i < rounds; i++) {
        const c = net.connect(path); c.end('hello ' + i); let s = ''; c.on('data', d => s += d); await once(c, 'close');
        ok += s === 'HELLO ' + i;
    }
    return ok === rounds;
}
async function clustered() {
    const up = [0, 1].map(() => cluster.fork());
    await Promise.all(up.map(w => once(w, 'listening')));
    console.log('cluster', await echo('sock'));
    process.on('SIGUSR1', () => {}); const told = once(process, 'SIGUSR1'); up[0].send('signal me'); await told;
    for (const w of up) { w.disconnect(); console.log(await once(w, 'exit')); }
}
if (cluster.isPrimary) children().then(workers).then(clustered).then(() => console.log('the end'));
else {
    net.createServer({ allowHalfOpen: true }, c => { let s = ''; c.on('data', d => s += d); c.on('end', () => c.end(s.toUpperCase())); }).listen('sock');
    process.on('message', () => process.kill(process.ppid, 'SIGUSR1'));
}
END
node all.js $rounds
