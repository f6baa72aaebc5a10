# ssh-agent(1): keys over its Unix socket, by many clients at once, as a daemon and with a command.
ssh-keygen -q -t ed25519 -N '' -f k1 -C one; ssh-keygen -q -t ecdsa -N '' -f k2 -C two
eval "$(ssh-agent -a "$PWD/agent")" >/dev/null
ssh-add -q k1 k2; echo "add $?"
ssh-add -l | sed 's/SHA256:[^ ]*//'
ssh-add -T k1.pub k2.pub; echo "sign $?"
echo data >f; ssh-keygen -q -Y sign -n file -f k1.pub f 2>/dev/null; echo "sign $?"
echo "me $(cat k1.pub)" >allowed; ssh-keygen -Y verify -f allowed -I me -n file -s f.sig <f | sed 's/SHA256.*//'
for i in $(seq 20); do ssh-add -l >said$i & done; wait
md5sum said* | awk '{ print $1 }' | sort -u | wc -l
ssh-add -d -q k1; ssh-add -l | wc -l; ssh-add -D -q; ssh-add -l
ssh-agent -k | sed 's/[0-9]\+/PID/g'
for _ in $(seq 500); do [ -e agent ] || break; sleep 0.02; done
[ -e agent ] || echo gone
ssh-agent sh -c 'ssh-add -q k1; ssh-add -l | wc -l'; ssh-add -l 2>&1
echo the end
