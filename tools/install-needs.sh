#!/bin/sh
# Installs what symkeep needs from outside npm, from Debian's packages: `main` for `npm start`, `test` for `npm test`.
# It does so only where it may (root on Debian or Ubuntu) and only what is missing. Elsewhere it says what to install;
# tests of what is missing are then skipped, counted and named.
set -u

need=${1:-main}
missing=""
want() { # command, package
  command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

command -v valkey-server >/dev/null 2>&1 || want redis-server redis-server
if [ "$need" = test ]; then
  want redis-cli redis-tools
  want readelf binutils
  want gcc gcc
  want docker-compose docker-compose
  want systemd-analyze systemd
  want debuginfod debuginfod
  want python3 python3
  # The package is for Debian's own Python, which need not be the first one on the path.
  python3 -c 'import msgpack' 2>/dev/null || /usr/bin/python3 -c 'import msgpack' 2>/dev/null ||
    missing="$missing python3-msgpack"
fi

[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing$missing (Debian packages)" >&2
  export DEBIAN_FRONTEND=noninteractive
  # Debian's package starts a server of its own after the install; symkeep starts its own where its data are.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; } && exit 0
fi
echo "symkeep needs:$missing" >&2
echo "  Debian, Ubuntu:  sudo apt-get install$missing" >&2
echo "  Fedora:          sudo dnf install redis" >&2
echo "  macOS:           brew install redis" >&2
[ "$need" = test ] && exit 0
exit 1
