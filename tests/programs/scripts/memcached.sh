# memcached (libevent, four threads that tell each other by eventfds or pipes) on a Unix socket.
rounds=300
[ "$LONG" ] && rounds=30000
memcached -s "$PWD/m" -t 4 -U 0 -l 127.0.0.1 & server=$!
cat >clients.py <<'END'
import socket, sys, threading, time
def connected():
    for _ in range(500): # the name is there before anybody listens
        s = socket.socket(socket.AF_UNIX)
        try: s.connect("m"); return s
        except OSError: time.sleep(0.02)
def client(n, rounds):
    s = connected(); f = s.makefile("rwb")
    for i in range(rounds):
        value = b"%d" % i * (i % 500)
        f.write(b"set k%d 0 0 %d\r\n%s\r\nget k%d\r\nincr sum 1\r\n" % (n, len(value), value, n)); f.flush()
        said = [f.readline() for _ in range(5)]
        assert said[0] == b"STORED\r\n" and said[2] == value + b"\r\n" and said[3] == b"END\r\n", said
    f.write(b"quit\r\n"); f.flush(); done.append(s.recv(1))
done = []
s = connected(); s.sendall(b"set sum 0 0 1\r\n0\r\n"); print(s.recv(99))
threads = [threading.Thread(target=client, args=(n, int(sys.argv[1]))) for n in range(10)]
for t in threads: t.start()
for t in threads: t.join()
s.sendall(b"get sum\r\n"); print(s.recv(99), done)
END
/usr/bin/python3 clients.py $rounds; echo $?
kill -INT $server; wait $server; echo "stop $?"
kill -0 $server 2>/dev/null || echo the end
