#!/bin/bash
# Try several_nodes.slurm on a Slurm cluster of this one machine: two nodes, each a network namespace with an address
# and a name of its own, and two GPUs that are none. As root, on Debian: apt-get install slurm-wlm munge iproute2
#   scripts/slurm_trial.sh column_links columns --scale smoke --device cpu     (what sbatch is to give the script)
# SBATCH: options for sbatch, "--time=2 --signal=TERM@60". Prints what the job says, and leaves its store; where it fails
# also the folder of its logs.
set -euo pipefail
here=$(mktemp -d) net=10.77.0 status=1
nodes=(trial1 trial2)

stop() {
    for daemon in "${nodes[@]}" slurmctld munged; do
        [ ! -f "$here/$daemon.pid" ] || kill "$(cat "$here/$daemon.pid")" || true
    done
    for node in "${nodes[@]}"; do ip netns delete "$node" || true; done
    ip link delete trial || true
    sleep 2 # the daemons write as they end
    if [ "$status" = 0 ]; then rm -rf "$here" || true; else echo "logs: $here"; fi
}
trap stop EXIT

# COMMAND in a node, or on the head: with the network, the name and the configuration that it has there.
on() {
    local name=$1 enter=()
    shift
    [ "$name" = head ] || enter=(nsenter --net=/var/run/netns/"$name")
    SLURM_CONF=$here/slurm.conf "${enter[@]}" unshare --uts --mount bash -c \
        'hostname "$1"; mount --bind "$2" /etc/hosts; exec "${@:3}"' - "$name" "$here/hosts" "$@"
}

ip link add trial type bridge
ip address add $net.1/24 dev trial
ip link set trial up
echo "127.0.0.1 localhost
$net.1 head" >"$here/hosts"
for i in 0 1; do
    node=${nodes[i]} address=$net.1$i
    ip netns add "$node"
    ip link add "to-$node" type veth peer name eth0 netns "$node"
    ip link set "to-$node" master trial up
    ip -n "$node" address add "$address/24" dev eth0
    ip -n "$node" link set eth0 up
    ip -n "$node" link set lo up
    echo "$address $node" >>"$here/hosts"
    mknod "$here/gpu$i" c 1 3
done
echo "Name=gpu File=$here/gpu[0-1]" >"$here/gres.conf"
cat >"$here/slurm.conf" <<CONF
ClusterName=trial
SlurmctldHost=head($net.1)
SlurmUser=root
AuthInfo=socket=$here/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SlurmdParameters=config_overrides
StateSaveLocation=$here/state
SlurmctldPidFile=$here/slurmctld.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdSpoolDir=$here/spool-%n
SlurmdPidFile=$here/%n.pid
SlurmdLogFile=$here/%n.log
NodeName=${nodes[0]} NodeAddr=$net.10 CPUs=8 Gres=gpu:2
NodeName=${nodes[1]} NodeAddr=$net.11 CPUs=8 Gres=gpu:2
PartitionName=trial Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

dd if=/dev/urandom of="$here/key" bs=128 count=1 status=none
chmod 700 "$here"
chmod 400 "$here/key"
munged --key-file="$here/key" --socket="$here/munge" --pid-file="$here/munged.pid" --log-file="$here/munged.log" \
    --seed-file="$here/seed" --force
on head slurmctld
for node in "${nodes[@]}"; do on "$node" slurmd -N "$node"; done
read -ra options <<<"${SBATCH:-}"
on head sbatch --wait --output="$here/job" "${options[@]}" scripts/several_nodes.slurm "$@" && status=0 || status=$?
cat "$here/job"
exit "$status"
