# socat(1): Unix sockets of all types, pipes, pseudo terminals, chains of it, programs at its ends.
size=2000000
[ "$LONG" ] && size=200000000
seq $size | head -c $size >big; sum=$(md5sum <big)
there() { for _ in $(seq 500); do [ -e "$1" ] && return; sleep 0.02; done; echo "no $1"; }
# The name is there before anybody listens.
again=,retry=500,interval=0.02
lines() { for _ in $(seq 500); do [ "$(wc -l <"$1")" -ge "$2" ] && return; sleep 0.02; done; echo "not $2 in $1"; }
ends() { kill "$@"; wait "$@"; echo "ended $?"; }

socat -u UNIX-LISTEN:s1 - >got & there s1; socat -u - UNIX-CONNECT:s1$again <big; wait $!; cmp got big && echo stream
socat UNIX-LISTEN:s2,fork EXEC:cat & server=$!; there s2
clients=; for i in 1 2 3 4; do (socat -t 30 - UNIX-CONNECT:s2$again <big | md5sum >sum$i) & clients="$clients $!"; done
wait $clients; for i in 1 2 3 4; do [ "$(cat sum$i)" = "$sum" ] || echo "bad $i"; done; ends $server
socat UNIX-LISTEN:s3,fork EXEC:'tr a-z A-Z',pipes & server=$!; there s3
echo hello | socat -t 30 - UNIX-CONNECT:s3$again; ends $server
socat UNIX-LISTEN:s4,fork EXEC:'head -n 2',pty,setsid,ctty,raw,echo=0 & server=$!; there s4
seq 2 | socat -t 30 - UNIX-CONNECT:s4$again; ends $server
socat -u UNIX-RECVFROM:d1 - >datagram & there d1; echo datagram | socat -u - UNIX-SENDTO:d1; wait $!; cat datagram
socat -u UNIX-RECV:d2 CREATE:many & server=$!; there d2; there many
for i in 1 2 3 4 5; do echo "m$i" | socat -u - UNIX-SENDTO:d2; done; lines many 5; cat many; ends $server
mkfifo fifo; socat -u PIPE:fifo - >from & server=$!; echo through a fifo >fifo; lines from 1; cat from; kill $server 2>/dev/null; wait $server
seq 5 | socat -t 30 - SYSTEM:'sed s/^/line_/ | tac'
echo packet | socat -t 1 - EXEC:'cat',socktype=5
socat UNIX-LISTEN:p1,fork UNIX-CONNECT:p2$again & front=$!; socat UNIX-LISTEN:p2,fork EXEC:md5sum & back=$!
there p1; there p2; socat -t 30 - UNIX-CONNECT:p1$again <big; ends $front $back
echo the end
