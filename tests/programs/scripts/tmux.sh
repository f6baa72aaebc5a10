# tmux (a libevent server): panes, terminals with job control, buffers, an attached client.
export HOME=$PWD TMUX_TMPDIR=$PWD TERM=screen
t() { timeout 40 tmux -f /dev/null -L x "$@"; }
sees() { for _ in $(seq 500); do t capture-pane -p -t "$1" | grep -q "$2" && return; sleep 0.02; done; echo "never saw $2"; }
key() { local pane=$1; shift; t send-keys -t "$pane" "$@"; }
t new-session -d -x 80 -y 24 -s one 'PS1="$ " sh'; echo "new $?"
sees one.0 '^[$] *$'
key one.0 'seq 3 | tac; echo do""ne' Enter; sees one.0 '^done'
t capture-pane -p -t one.0 | grep '^[0-9d]'
t split-window -t one 'PS1="% " bash --norc'; t list-panes -t one -F '#{pane_index} #{pane_width}x#{pane_height}'
# The command is in front once the terminal says so.
front() { for _ in $(seq 500); do [ "$(t display -p -t "$1" '#{pane_current_command}')" = "$2" ] && return; sleep 0.02; done; echo "never $2"; }
sees one.1 '^% *$'; key one.1 'sleep 50' Enter; front one.1 sleep; key one.1 C-c
front one.1 bash; sees one.1 '^% *$'; key one.1 'echo in""t $?' Enter; sees one.1 '^int 130'; sees one.1 '^% *$'
key one.1 'sleep 51' Enter; front one.1 sleep; key one.1 C-z; sees one.1 'Stopped *sleep 51'; sees one.1 '^% *$'
key one.1 'kill %1; wait %1; echo en""d $?' Enter; sees one.1 '^end'
t set-buffer hello; t show-buffer; echo; t run-shell 'seq 100000 | tail -n 1 >ran'; cat ran
t wait-for ch & sleep 0.1; t wait-for -S ch; wait $!; echo "signalled $?"
t pipe-pane -t one.0 "cat >piped"; key one.0 'echo pi""ped' Enter; sees one.0 '^piped'
for _ in $(seq 500); do grep -q '^piped' piped && break; sleep 0.02; done; t pipe-pane -t one.0; grep -c '^piped' piped
t new-window -t one -n two cat; t list-windows -t one -F '#{window_name}' | tail -n 1
key one:two 'to and fro' Enter; sees one:two 'to and fro'
script -qc 'timeout 40 tmux -f /dev/null -L x attach -t one' /dev/null >attached </dev/null & client=$!
for _ in $(seq 500); do [ "$(t list-clients)" ] && break; sleep 0.02; done
t list-clients -F '#{client_session}'
t detach-client -s one; wait $client; echo "detached $?"
t kill-session -t one; echo "kill $?"
for _ in $(seq 500); do t ls >/dev/null 2>&1 || break; sleep 0.02; done; t ls >/dev/null 2>&1 || echo the end
