#!/usr/bin/env bash
# Measures this tree on this machine: all-reduce in every mode, each beside the machine's limit taken in the same process.
# Usage: perf/bench.sh [RANKS]. Figures of different runs on a shared machine differ: compare within one run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ranks=${1:-2}
program=build/release/bin/all_reduce_perf

measure() {
  printf '\n== %s\n' "$*"
  timeout 300 "$program" --ranks "$ranks" -b 8 -e 64M -f 8 -n 20 -w 5 -c 1 --owner-writes --limit "$@"
}

measure --transport shm --buffers registered
measure --transport shm --buffers plain
measure --transport tcp --buffers plain
for program in build/release/bin/{reduce,broadcast,all_gather,reduce_scatter,all_to_all,all_to_all_v,gather,scatter,send_recv}_perf; do
  measure --transport shm --buffers registered
done
