#!/bin/sh
# Runs a command that may have so much memory and no more, that leaves no core behind, and that the kernel ends with
# whoever started it, where it can.
#
#   bounded.sh <KiB of data> <command> [argument…]
#
# Data (RLIMIT_DATA) is what a process allocates, whichever way: heap, typed arrays, zlib's buffers.
ulimit -c 0
ulimit -d "$1" || exit 1
shift
if setpriv --pdeathsig KILL true 2>/dev/null; then
  exec setpriv --pdeathsig KILL "$@"
fi
exec "$@"
