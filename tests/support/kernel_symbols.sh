#!/bin/sh
# Object files as arguments. Fails if a file of kernels defines a function that the linker may share with other
# files: an inline function compiled for AVX-512 there could be the copy that an older machine runs.
status=0
seen=0
for object in "$@"; do
  case "$object" in
    */kernels_scalar.*|*/kernels_avx2.*|*/kernels_avx512.*) ;;
    *) continue ;;
  esac
  seen=$((seen + 1))
  shared=$(nm --defined-only "$object" | awk '$2 ~ /^[TWVuvwi]$/ {print $3}' | grep -v '^__odr_asan\|^DW\.ref\.\|^\.gnu')
  if [ -n "$shared" ]; then
    echo "$object shares: $shared"
    status=1
  fi
done
[ "$seen" -gt 0 ] || { echo "no kernels among $#  objects"; status=1; }
exit $status
