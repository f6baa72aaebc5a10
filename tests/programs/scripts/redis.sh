# redis on a Unix socket: redis-benchmark, pipelining, threads, background saves, a death, a restart.
requests=2000
[ "$LONG" ] && requests=200000
cli() { redis-cli -s redis "$@"; }
options="--port 0 --unixsocket $PWD/redis --dir $PWD --appendonly yes --pidfile $PWD/pid"
saved() { for _ in $(seq 500); do cli info persistence | grep -qE '(bgsave|rewrite)_(in_progress|scheduled):1' || return; sleep 0.02; done; echo never; }
redis-server $options --save '' >log1 2>&1 & server=$!
up() { for _ in $(seq 500); do cli ping 2>/dev/null | grep -q PONG && return; sleep 0.02; done; echo never up; }
up; cli ping
bench() { redis-benchmark -s redis -q -n $requests "$@" >bench 2>&1; echo "bench $* $?"; }
bench -c 20 -t ping,set,get,incr,lpush,lpop,sadd,hset,spop,zadd,lrange_100,mset
bench -c 20 -P 16 -t set,get
bench -c 20 --threads 2 -t set,get
for i in 1 2 3 4 5; do echo "set k$i $i"; done | cli
cli bgsave; saved; cli bgrewriteaof; saved
cli info persistence | tr -d '\r' | grep -E '(bgsave|bgrewrite|write)_status'
cli eval "return redis.call('get', 'k3')" 0
printf 'multi\nincr c\nincr c\nexec\n' | cli
cli subscribe ch >messages & sub=$!
for _ in $(seq 500); do [ "$(cli pubsub numsub ch | tail -n 1)" = 1 ] && break; sleep 0.02; done
cli publish ch hello
for _ in $(seq 500); do grep -q hello messages && break; sleep 0.02; done
kill $sub; wait $sub; cat messages
cli blpop q 30 >popped & sleep 0.1; cli rpush q item; wait $!; cat popped
kill -9 $server; wait $server 2>/dev/null; echo "killed $?"
redis-server $options --daemonize yes >log2 2>&1; echo "daemon $?"
up; cli get k3; cli shutdown 2>/dev/null; echo "shutdown $?"
for _ in $(seq 500); do [ -e redis ] || break; sleep 0.02; done
[ -e pid ] || echo the end
