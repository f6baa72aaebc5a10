# nginx, master and two workers, in front of itself on a Unix socket: reload and graceful stop under load.
export PATH=$PATH:/usr/sbin
requests=3000 reloads=4
[ "$LONG" ] && requests=100000 reloads=40
mkdir html tmp; seq 1000 >html/index.html
cat >conf <<END
daemon off; worker_processes 2; pid $PWD/pid; error_log $PWD/errors notice;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    proxy_cache_path $PWD/cache keys_zone=z:1m;
    upstream back { server unix:$PWD/back; keepalive 8; }
    server { listen unix:$PWD/back; root $PWD/html; }
    server { listen unix:$PWD/front; root $PWD/html;
        location /slow/ { alias $PWD/html/; limit_rate_after 8k; limit_rate 32k; }
        location /back/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
END
seq 10000 >html/big.html
cat >load.py <<'END'
import hashlib, socket, sys, threading
def get(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("front"); s.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
        reply = b"".join(iter(lambda: s.recv(65536), b""))
    head, body = reply.split(b"\r\n\r\n", 1)
    return head.split()[1], hashlib.md5(body).hexdigest()
def client(n):
    for i in range(n): seen.add(get([b"/index.html", b"/back/index.html"][i % 2]))
seen = set()
threads = [threading.Thread(target=client, args=(int(sys.argv[1]) // 4,)) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(seen))
END
cat >slow.py <<'END'
import hashlib, socket
def begin():
    s = socket.socket(socket.AF_UNIX); s.connect("front"); s.sendall(b"GET /slow/big.html HTTP/1.0\r\n\r\n")
    return s, s.recv(1)
clients = [begin() for _ in range(8)]
open("begun", "w").close()
replies = [first + b"".join(iter(lambda: s.recv(65536), b"")) for s, first in clients]
print(len(replies), {hashlib.md5(r.split(b"\r\n\r\n", 1)[1]).hexdigest() for r in replies})
END
nginx -p "$PWD" -c "$PWD/conf" -e "$PWD/errors" & master=$!
for _ in $(seq 500); do [ -S front ] && [ -s pid ] && break; sleep 0.02; done
for _ in $(seq 500); do worker=$(pgrep -P $master -n -f "worker process$") && break; sleep 0.02; done
kill -9 "$worker"; echo "kill $?"
for _ in $(seq 500); do grep -q "process $worker exited on signal 9" errors && break; sleep 0.02; done
/usr/bin/python3 load.py 200; echo "after a worker's death $?"
/usr/bin/python3 load.py $requests & load=$!
for _ in $(seq $reloads); do sleep 0.1; kill -HUP $master; done
wait $load; echo "load $?"
kill -USR1 $master # logs are opened anew
/usr/bin/python3 slow.py >slow.out & slow=$!
for _ in $(seq 500); do [ -e begun ] && break; sleep 0.02; done
kill -QUIT $master; wait $master; echo "stop $?"; wait $slow; echo "in progress $?"; cat slow.out
grep -E 'emerg|alert|crit' errors | sed 's/^[^[]*//; s/[0-9]*#[0-9]*/PID/; s/process [0-9]*/process/'
[ -e pid ] || echo the end
