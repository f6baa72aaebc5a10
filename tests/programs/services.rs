//! Servers and what they are asked by many clients at once, each with reload, death and restart. `RINGER_LONG=1`
//! puts them to minutes of work. The scripts end with "the end" only if they came to it.

use crate::case::bash;
use crate::emulated::Pipes;

fn same_as_native(script: &str, needs: &[&'static str]) {
    let native = bash(script)
        .needs(needs)
        .unprivileged()
        .pipes(Pipes::Any)
        .check();
    if let Some(native) = native {
        let said = native.stdout();
        assert!(said.ends_with("the end\n"), "natively: {said}");
    }
}

macro_rules! services {
    ($($test:ident: $script:literal, [$($needs:literal),*];)*) => {
        $(#[test]
        fn $test() {
            same_as_native(include_str!(concat!("scripts/", $script)), &[$($needs),*]);
        })*
    };
}

services! {
    memcached: "memcached.sh", ["memcached"];
    nginx: "nginx.sh", ["nginx"];
    node: "node.sh", ["node"];
    postgres: "postgres.sh", ["pg_ctlcluster"];
    redis: "redis.sh", ["redis-server", "redis-benchmark"];
    socat: "socat.sh", ["socat"];
    ssh_agent: "ssh-agent.sh", ["ssh-agent"];
    tmux: "tmux.sh", ["tmux", "script"];
}
