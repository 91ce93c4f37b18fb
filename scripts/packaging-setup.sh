#!/usr/bin/env bash
# Brings a machine that has Node to the runtimes, browsers and bundlers that the
# packed package is tried in, and to TensorFlow.js: npm's from the lock files, browsers from
# Debian.
#
#   scripts/packaging-setup.sh    installs what is missing; seconds when all is there
#
# Without Debian or root the browsers are left out with a word, and their checks are
# skipped with a reason.
set -euo pipefail
cd "$(dirname "$0")/.."

debian_packages=(chromium firefox-esr webkit2gtk-driver xvfb)

say() { printf 'packaging-setup: %s\n' "$*" >&2; }

has_debian_packages() {
  local status
  status=$(dpkg-query -W -f '${db:Status-Status}\n' "${debian_packages[@]}" 2>/dev/null) &&
    ! grep -qvx installed <<<"$status"
}

install_browsers() {
  has_debian_packages && return
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    say "no browsers installed; as root on Debian: apt-get install --no-install-recommends ${debian_packages[*]}"
    return
  fi
  say "installing Debian packages: ${debian_packages[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${debian_packages[@]}" >/dev/null
}

install_browsers
for folder in test/packaging test/packaging/bundlers test/tfjs; do
  say "installing the packages of $folder"
  # Not `npm ci`, which refuses a lock file that lacks another platform's binaries:
  # registries that mirror lag behind with these.
  npm install --no-save --prefix "$folder" --no-audit --no-fund --loglevel=error
done
