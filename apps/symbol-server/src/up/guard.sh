#!/bin/sh
# Runs a command as long as whoever started this is there: when standard input closes, which it does however the
# starter ends, the command gets SIGTERM. The command holds a lock on a file meanwhile, kept by the kernel.
#
#   guard.sh <lock file> <seconds to wait for the lock> <command> [argument…]
#
# Ends with the command's code; 75 if another process holds the lock.
lock=$1
wait=$2
shift 2
exec 3<&0 9>>"$lock" || exit 1
if command -v flock >/dev/null 2>&1; then
  flock -w "$wait" 9 || exit 75
fi
"$@" 3<&- </dev/null &
child=$!
(
  exec 9>&-
  read -r _ <&3
  kill -TERM "$child" 2>/dev/null
) &
watch=$!
exec 3<&-
trap 'kill -TERM "$child" 2>/dev/null' TERM INT HUP
# A trapped signal ends `wait` early.
while :; do
  wait "$child"
  code=$?
  kill -0 "$child" 2>/dev/null || break
done
kill "$watch" 2>/dev/null
exit "$code"
