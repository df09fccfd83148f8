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
  $ip rule add pref 10 to 10.9.$1.2 oif va$1 lookup 10$1 2> /dev/null
  $ip route replace 10.9.$1.2 dev va$1 src 10.9.$1.1 table 10$1
  $ip rule add pref 10 to 10.9.$1.1 oif vb$1 lookup 11$1 2> /dev/null
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
    [ -n "$ucx_over_rdma" ] && export UCX_NET_DEVICES=$devices:1
    COMITY_HOSTID=$host COMITY_VERBS_DEVICES=$devices COMITY_TRANSPORTS=$transports "$@" --rank $rank --nranks $count --id-file /tmp/id ${pinned:+--cpu $rank} > /tmp/out.$rank 2>&1 &
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
COMITY_VERBS_DEVICES=rxeva0 COMITY_ROUNDS=200 check conformance_one_device /usr/bin/verbs_conformance
grep -h 'tests from .* ran' /tmp/out || failed=1
COMITY_VERBS_DEVICES=rxeva0,rxevb1 check conformance_two_rails /usr/bin/verbs_conformance --gtest_filter='*two_queue*'
grep -h 'tests from .* ran' /tmp/out || failed=1
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
where="a:rxeva0 a:rxeva0 b:rxevb0"
check three_ranks_two_hosts job all_reduce_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
where="a:rxeva0 a:rxeva0 b:rxevb0 b:rxevb0"
check four_ranks_two_hosts job all_reduce_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
check four_ranks_all_to_all job all_to_all_perf -b 64 -e 256K -f 32 -n 2 -w 1 -c 1
""",
    # Both at once between each two hosts: what one of them has put, the other has sent.
    "striped": r"""
export COMITY_STRIPE=verbs,tcp
default=shm,verbs,tcp
where="a:rxeva0 b:rxevb0"
for program in all_reduce all_to_all broadcast send_recv; do
  check striped_$program job ${program}_perf -b 8 -e 2M -f 64 -n 2 -w 1 -c 1
done
where="a:rxeva0 a:rxeva0 b:rxevb0"
check striped_three_ranks job all_reduce_perf -b 8 -e 1M -f 64 -n 2 -w 1 -c 1
unset COMITY_STRIPE
default=shm,verbs
""",
    # A covering set of the table of collectives, two to four processes, on one device.
    "table": r"""
COMITY_TEST_RDMA=1 COMITY_VERBS_DEVICES=rxeva0 check table /usr/bin/collectives_test --gtest_filter='*Processes*verbs*'
grep -h 'OK \]' /tmp/out || failed=1
""",
    "ucx": r"""
default=shm,ucx
export UCX_TLS=rc_verbs,ud_verbs UCX_IB_GID_INDEX=1 UCX_UD_VERBS_ETH_DGID_CHECK=n
ucx_over_rdma=yes
where="a:rxeva0 b:rxevb0"
check ucx_over_rdma job all_reduce_perf -b 8 -e 256K -f 32 -n 2 -w 1 -c 1
check ucx_over_rdma_all_to_all job all_to_all_perf -b 64 -e 256K -f 32 -n 2 -w 1 -c 1
where="a:rxeva0 a:rxeva0 b:rxevb0"
check ucx_over_rdma_three_ranks job all_reduce_perf -b 8 -e 64K -f 32 -n 2 -w 1 -c 1
ucx_over_rdma=
unset UCX_TLS UCX_IB_GID_INDEX UCX_UD_VERBS_ETH_DGID_CHECK UCX_NET_DEVICES
default=shm,verbs
""",
    # Rank 0 to 1 by shared memory, 0 to 2 by verbs, 1 to 3 by UCX, the other pairs by TCP.
    "mixed": r"""
export UCX_TLS=tcp UCX_NET_DEVICES=lo
where="a:rxeva0:shm,verbs,tcp a:rxeva0:shm,ucx,tcp b:rxevb0:verbs,tcp c:rxevb1:ucx,tcp"
for program in all_reduce all_to_all all_gather reduce_scatter broadcast; do
  check mixed_$program job ${program}_perf -b 64 -e 256K -f 16 -n 2 -w 1 -c 1
done
unset UCX_TLS UCX_NET_DEVICES
where="a:rxeva0:verbs b:rxevb0:tcp"
refused() { job all_reduce_perf -b 8 -e 8 -n 1 && return 1; grep -q "nothing joins rank . *, which has verbs, to rank ., which has tcp\|nothing joins" /tmp/out.0; }
check nothing_in_common refused
grep -h "nothing joins" /tmp/out.0 | head -n 1
""",
    "faults": r"""
where="a:rxeva0 b:rxevb0"
# ends SECONDS PATTERN COMMAND...: starts a long job, does COMMAND once it runs; all that live must end, one of them naming PATTERN
ends() {
  seconds=$1; pattern=$2; shift 2
  rm -f /tmp/id /tmp/out.0 /tmp/out.1
  COMITY_LOG=error COMITY_HOSTID=a COMITY_VERBS_DEVICES=rxeva0 COMITY_TRANSPORTS=verbs all_reduce_perf -b 1M -e 1M -n 100000 -c 0 --rank 0 --nranks 2 --id-file /tmp/id > /tmp/out.0 2>&1 &
  zero=$!
  COMITY_LOG=error COMITY_HOSTID=b COMITY_VERBS_DEVICES=rxevb0 COMITY_TRANSPORTS=verbs all_reduce_perf -b 1M -e 1M -n 100000 -c 0 --rank 1 --nranks 2 --id-file /tmp/id > /tmp/out.1 2>&1 &
  one=$!
  before=$(cat /sys/class/net/va0/statistics/tx_bytes); tries=0
  until [ $(($(cat /sys/class/net/va0/statistics/tx_bytes) - before)) -gt 3000000 ] || [ $((tries += 1)) -gt 300 ]; do usleep 100000; done
  [ $tries -le 300 ] || { echo "no traffic began"; kill -9 $zero $one; return 1; }
  "$@"
  tries=0
  while { kill -0 $zero || kill -0 $one; } 2> /dev/null && [ $((tries += 1)) -lt $((seconds * 10)) ]; do usleep 100000; done
  kill -9 $zero $one 2> /dev/null
  wait $zero; wait $one
  cat /tmp/out.0 /tmp/out.1
  [ $tries -lt $((seconds * 10)) ] || { echo "a rank hung"; return 1; }
  grep -q "$pattern" /tmp/out.0 && { [ -n "$killed" ] || grep -q "$pattern_of_one" /tmp/out.1; }
}
kill_one() { kill -9 $one; }
killed=yes
check peer_killed ends 20 "rank 1" kill_one
killed=
grep -h "rank 1" /tmp/out.0 | head -n 1
cut() { $ip link set va0 down; }
pattern_of_one="rank [01] (verbs rxe"
check port_down ends 30 "rank [01] (verbs rxe" cut
grep -h "rank" /tmp/out.0 | tail -n 1
$ip link set va0 up; routes 0
tries=0; until grep -q ACTIVE /sys/class/infiniband/rxeva0/ports/1/state || [ $((tries += 1)) -gt 3000 ]; do :; done
check after_the_port_is_up_again job all_reduce_perf -b 8 -e 64K -f 64 -n 2 -w 1 -c 1
says() { pattern=$1; shift; "$@"; [ $? -ne 0 ] && grep -q "$pattern" /tmp/out; }
alone() { COMITY_HOSTID=a COMITY_TRANSPORTS=verbs "$@" all_reduce_perf --rank 0 --nranks 2 --id-file /tmp/id -b 8 -e 8; }
no_device() { export COMITY_VERBS_DEVICES=mlx5_7; job all_reduce_perf -b 8 -e 8 -n 1; }
where="a:mlx5_7:verbs b:mlx5_7:verbs"
check no_device says "none of that name is here" job all_reduce_perf -b 8 -e 8 -n 1
grep -h "none of that name" /tmp/out | head -n 1
echo 'user:x:1000:1000::/:/bin/sh' >> /etc/passwd
chmod 600 /dev/infiniband/uverbs*
chmod 777 /tmp
as_user() { export PATH=/usr/bin:$PATH; rm -f /tmp/id /tmp/out.*; su user -c "cd /tmp; ulimit -l $1; LD_LIBRARY_PATH=/usr/bin COMITY_SOCKET_IFNAME=lo COMITY_TRANSPORTS=verbs all_reduce_perf --ranks 2 -b $2 -e $2 -n 1"; }
check no_permission says "/dev/infiniband" as_user 64 8
grep -h "/dev/infiniband" /tmp/out | head -n 1
chmod 666 /dev/infiniband/uverbs*
check memory_limit says "RLIMIT_MEMLOCK" as_user 64 8
grep -h "RLIMIT_MEMLOCK" /tmp/out | head -n 1
""",
    "figures": r"""
figure() {  # name, file
  echo "FIGURE $1"; grep -hE "^ *[0-9]+ " /tmp/out | head -n 12
}
where="a:rxeva0 b:rxevb0"
export COMITY_VERBS_QUEUE_PAIRS=1
pinned=yes
for round in 1 2 3; do
  (taskset 1 timeout 60 ib_write_bw -d rxevb0 -x 1 -F -n 30 -s 1048576 --report_gbits > /dev/null 2>&1 &)
  usleep 500000
  check ib_write_bw taskset 2 timeout 60 ib_write_bw -d rxeva0 -x 1 -F -n 30 -s 1048576 127.0.0.1
  figure "ib_write_bw 1 MiB: bytes, iterations, peak and average MB/s"
  check broadcast job broadcast_perf -b 1M -e 4M -f 4 -n 10 -w 1 -c 0
  figure "broadcast, 2 ranks"
  (taskset 1 timeout 60 ib_write_lat -d rxevb0 -x 1 -F -n 200 -s 8 > /dev/null 2>&1 &)
  usleep 500000
  check ib_write_lat taskset 2 timeout 60 ib_write_lat -d rxeva0 -x 1 -F -n 200 -s 8 127.0.0.1
  figure "ib_write_lat 8 B: bytes, iterations, min, max, typical us"
  (taskset 1 timeout 60 ib_send_lat -d rxevb0 -x 1 -F -n 200 -s 8 > /dev/null 2>&1 &)
  usleep 500000
  check ib_send_lat taskset 2 timeout 60 ib_send_lat -d rxeva0 -x 1 -F -n 200 -s 8 127.0.0.1
  figure "ib_send_lat 8 B: bytes, iterations, min, max, typical us"
  check all_reduce job all_reduce_perf -b 8 -e 8 -n 200 -w 20 -c 0
  figure "all_reduce 8 B, both ways at once"
  check send_recv job send_recv_perf -b 8 -e 8 -n 200 -w 20 -c 0
  figure "send_recv 8 B, both ways at once"
  check ping_pong job ping_pong_perf -b 8 -e 8 -n 200 -w 20 -c 0
  figure "ping_pong 8 B, there and back"
done
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
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "all_to_all_v", "broadcast", "reduce", "gather", "scatter", "send_recv", "ping_pong")),
        "comity")] + [programs.parent / "tests" / name for name in ("collectives_test", "comity_collectives_worker", "verbs_conformance")]
    if not needed[-1].exists():
        guest.skip("libibverbs-dev, with which Comity is built")
    tools = [shutil.which(name) for name in ("ip", "rdma", "ib_write_bw", "ib_write_lat", "ib_send_lat")]
    if None in tools:
        guest.skip("iproute2 and perftest")
    script = SETUP + "".join(f"echo PART {part}\n{PARTS[part]}" for part in parts) + "\necho failed $failed\n"
    machine = ["-machine", "q35", "-m", "3072", "-smp", "4"]
    output = guest.run(machine, [*needed, *tools], plugins(), MODULES, script, programs.parent.parent / "lab-kernel", timeout_s=550)
    print(output)
    assert "failed 0" in output, "something failed in the guest"


main()
