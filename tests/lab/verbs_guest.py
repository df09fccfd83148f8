"""RDMA between hosts in a machine that has it: Soft-RoCE on two cables, in a guest under QEMU.

Four devices of one kernel, two on each cable, play the ports of two hosts with two rails; processes are hosts by COMITY_HOSTID. In the
guest run the transport's conformance suite, collectives over one and two rails, over UCX on the same devices, over all transports mixed,
faults, and figures beside perftest's. Usage: verbs_guest.py FOLDER_WITH_PROGRAMS [PART ...]
"""
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True  # it may run as root
from support import guest

MODULES = ["crc32_generic", "veth", "udp_tunnel", "ip6_udp_tunnel", "ib_uverbs", "rdma_ucm", "rdma_rxe"]
# A cable from a host to the other: both ends are in one namespace, so what goes to the other end is told to take the wire.
SETUP = r"""
ip=/usr/bin/ip
mkdir -p /dev/shm /etc && mount -t tmpfs shm /dev/shm
echo 'root:x:0:0::/:/bin/sh' > /etc/passwd
$ip link set lo up
cable() {  # number
  $ip link add va$1 type veth peer name vb$1
  for end in va$1 vb$1; do
    echo 0 > /proc/sys/net/ipv6/conf/$end/accept_dad
    echo 1 > /proc/sys/net/ipv4/conf/$end/accept_local
    echo 0 > /proc/sys/net/ipv4/conf/$end/rp_filter
  done
  $ip addr add 10.9.$1.1/24 dev va$1
  $ip addr add 10.9.$1.2/24 dev vb$1
  $ip link set va$1 up
  $ip link set vb$1 up
  routes $1
}
routes() {
  $ip rule add pref 10 to 10.9.$1.2 oif va$1 lookup 10$1
  $ip route replace 10.9.$1.2 dev va$1 src 10.9.$1.1 table 10$1
  $ip rule add pref 10 to 10.9.$1.1 oif vb$1 lookup 11$1
  $ip route replace 10.9.$1.1 dev vb$1 src 10.9.$1.2 table 11$1
}
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
$ip rule add pref 32000 lookup local
$ip rule del pref 0
cable 0
cable 1
for end in va0 vb0 va1 vb1; do /usr/bin/rdma link add rxe$end type rxe netdev $end; done
for state in /sys/class/infiniband/rxe*/ports/1/state; do
  tries=0
  until grep -q ACTIVE $state || [ $((tries += 1)) -gt 3000 ]; do :; done
done
export LD_LIBRARY_PATH=/usr/bin COMITY_SOCKET_IFNAME=lo COMITY_LOG=warn UCX_WARN_UNUSED_ENV_VARS=n
failed=0
check() {  # name, command...: says how it ended
  name=$1; shift
  if "$@" > /tmp/out 2>&1; then echo "PASS $name"; else echo "FAIL $name ($?)"; tail -n 30 /tmp/out; failed=1; fi
}
# job RANKS COMMAND...: a rank for each word host:devices[:transports] of $where, on the hosts they name
job() {
  rm -f /tmp/id; rank=0; pids=""; count=0
  for word in $where; do count=$((count + 1)); done
  for word in $where; do
    host=${word%%:*}; rest=${word#*:}; devices=${rest%%:*}; transports=${rest#*:}
    [ "$transports" = "$rest" ] && transports=$default
    COMITY_HOSTID=$host COMITY_VERBS_DEVICES=$devices COMITY_TRANSPORTS=$transports "$@" --rank $rank --nranks $count --id-file /tmp/id > /tmp/out.$rank 2>&1 &
    pids="$pids $!"
    rank=$((rank + 1))
  done
  status=0
  for pid in $pids; do wait $pid || status=$?; done
  cat /tmp/out.*
  return $status
}
default=shm,verbs
"""
PARTS = {
    "conformance": r"""
COMITY_VERBS_DEVICES=rxeva0 check conformance_one_device /usr/bin/verbs_conformance
grep -h 'tests ran' /tmp/out
COMITY_VERBS_DEVICES=rxeva0,rxevb1 check conformance_two_rails /usr/bin/verbs_conformance --gtest_filter='*two_queue*'
grep -h 'tests ran' /tmp/out
""",
    "collectives": r"""
where="a:rxeva0 b:rxevb0"
check one_rail job all_reduce_perf -b 8 -e 1M -f 8 -n 3 -w 1 -c 1
grep -h 1048576 /tmp/out
where="a:rxeva0,rxeva1 b:rxevb0,rxevb1"
check two_rails job all_reduce_perf -b 8 -e 1M -f 8 -n 3 -w 1 -c 1
for program in all_gather reduce_scatter all_to_all all_to_all_v broadcast reduce gather scatter send_recv; do
  check two_rails_$program job ${program}_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
done
where="a:rxeva0 b:rxevb0 c:rxeva1,rxevb1"
where="a:rxeva0 a:rxeva0 b:rxevb0"
check three_ranks_two_hosts job all_reduce_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
where="a:rxeva0 a:rxeva0 b:rxevb0 b:rxevb0"
check four_ranks_two_hosts job all_reduce_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
check four_ranks_all_to_all job all_to_all_perf -b 64 -e 256K -f 32 -n 2 -w 1 -c 1
""",
}


def plugins():
    found = []
    for pattern in ("usr/lib/*/libibverbs.so.1", "usr/lib/*/libibverbs/librxe-*.so", "etc/libibverbs.d/rxe.driver"):
        found += pathlib.Path("/").glob(pattern)
    if len(found) != 3:
        guest.skip("ibverbs-providers")
    for pattern in ("usr/lib/*/libucp.so.0", "usr/lib/*/libuct.so.0", "usr/lib/*/ucx/libuct_ib.so.0", "usr/lib/*/ucx/libuct_cma.so.0"):
        found += pathlib.Path("/").glob(pattern)
    return found


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    parts = sys.argv[2:] or list(PARTS)
    needed = [programs / name for name in (*(f"{each}_perf" for each in (
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "all_to_all_v", "broadcast", "reduce", "gather", "scatter", "send_recv")),
        "comity")] + [programs.parent / "tests" / "verbs_conformance"]
    if not needed[-1].exists():
        guest.skip("libibverbs-dev, with which Comity is built")
    tools = [shutil.which(name) for name in ("ip", "rdma", "ib_write_bw", "ib_write_lat")]
    if None in tools:
        guest.skip("iproute2 and perftest")
    script = SETUP + "".join(f"echo PART {part}\n{PARTS[part]}" for part in parts) + "\necho failed $failed\n"
    machine = ["-machine", "q35", "-m", "3072", "-smp", "4"]
    output = guest.run(machine, [*needed, *tools], plugins(), MODULES, script, programs.parent.parent / "lab-kernel", timeout_s=500)
    print(output)
    assert "failed 0" in output, "something failed in the guest"


main()
