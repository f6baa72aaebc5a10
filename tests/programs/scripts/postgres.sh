# PostgreSQL on a Unix socket: made, loaded, restarted, and recovering after backends were killed.
export PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH
export PGHOST=$PWD PGUSER=pg PGDATABASE=postgres PGCONNECT_TIMEOUT=30
secs=2 rounds=2
[ "$LONG" ] && secs=60 rounds=20

ctl() { pg_ctl -D db -w -t 50 -l log "$@" >ctl.out 2>&1; echo "pg_ctl $* $?"; }
count() { psql -Atc 'select count(*) from pgbench_accounts' 2>>later; }
# A fast shutdown *during* recovery hangs PostgreSQL 15 itself now and then: so until it answers.
answers() { for _ in $(seq 300); do count && return; sleep 0.1; done; echo no answer; }
bench() { pgbench -c 8 -j 2 "$@" >bench.out 2>&1; echo "pgbench $* $?"; grep 'failed transactions' bench.out; }
backend() { psql -Atc "select pid from pg_stat_activity where query like 'UPDATE%' limit 1" 2>>later; }

initdb -D db -U pg -A trust -N >initdb.out 2>&1; echo "initdb $?"
cat >>db/postgresql.conf <<END
listen_addresses = ''
unix_socket_directories = '$PWD'
log_line_prefix = '%b '
END
[ "$LONG" ] || echo 'fsync = off' >>db/postgresql.conf
ctl start
pgbench -i -s 4 -q >init.out 2>&1; echo "init $?"
bench -T $secs
bench -T 1 -C
ctl -m fast restart; count
psql -At <<'END' 2>&1
set max_parallel_workers_per_gather = 4; set min_parallel_table_scan_size = 0;
set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
select count(*) from pgbench_accounts a join pgbench_branches b using (bid);
select pg_advisory_lock(7); select pg_advisory_unlock(7);
END
pgbench -n -c 8 -T 50 >load.out 2>&1 & sleep 0.5
ctl -m fast restart; wait; count
for _ in $(seq $rounds); do
    pgbench -n -c 8 -T 50 >load.out 2>&1 &
    victim=; until [ "$victim" ]; do victim=$(backend); done
    kill -9 "$victim"; echo "kill $?"; wait
    answers
done
ctl -m immediate restart; answers
ctl -m fast stop
# Clients that came too early or were sent away are as many as the clock has it; nothing else may be there.
# (PostgreSQL takes an autovacuum back that is in a client's way: whether there is one just then is chance.)
grep -E 'WARNING|ERROR|FATAL|PANIC' log | grep -vE 'recovery mode|administrator|not yet acc|shutting down|connection to client lost|starting up|canceling autovacuum task'
echo the end
