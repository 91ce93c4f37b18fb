#!/usr/bin/env bash
# Brings a machine that has Node to a build of the kernel.
#
#   scripts/toolchain.sh          installs what is missing; seconds when all is there
#   scripts/toolchain.sh --path   installs nothing: prints what a build has to put in
#                                 front of PATH, or fails and says what is missing
#
# The compiler comes from rustup (the toolchain of rust-toolchain.toml) where its wasm
# target can be reached, else from Debian's packages. WASM_TOOLCHAIN=rustup|debian
# forces a route. All but rustup's and Debian's own goes to a cache folder, so that
# nothing of the user's is overwritten.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
cache=${XDG_CACHE_HOME:-$HOME/.cache}/batchnorm-wasm
route=${WASM_TOOLCHAIN:-any}
install=true
[ "${1-}" != --path ] || install=false

# Each version is pinned in one place, where the tool that reads it wants it.
channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
wasm_bindgen=$(sed -n 's/^wasm-bindgen = .*"=\([^"]*\)".*/\1/p' crate/boundary/Cargo.toml)
wasm_pack=$(node -p 'require("./scripts/kernel/package.json").config["wasm-pack"]')
binaryen=$(node -p 'require("./scripts/kernel/package.json").dependencies.binaryen')
# The last two are for `npm test`, which checks Rust's format and lints where it can.
debian_packages=(rustc-web cargo-web rust-web-src rust-web-llvm lld-22 rustfmt-web rust-web-clippy)

say() { printf 'toolchain: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
allows() { [ "$route" = any ] || [ "$route" = "$1" ]; }
has_std() { compgen -G "$1/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# Stands in for timeout(1) where there is none (macOS).
command -v timeout >/dev/null || timeout() { shift; "$@"; }

apt_install() {
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" != 0 ]; then
    say "Debian packages are missing; as root: apt-get install --no-install-recommends $*"
    return 1
  fi
  say "installing Debian packages: $*"
  apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# --- The compiler: $root/bin has rustc and cargo, $root/lib/rustlib the target's std ---

rustup_root() {
  command -v rustup >/dev/null && rustup run "$channel" rustc --print sysroot 2>/dev/null
}

find_rustup() { root=$(rustup_root) && has_std "$root"; }

# A closed network may refuse at once or hang: hence the limit.
install_rustup() {
  command -v rustup >/dev/null || return 1
  say "asking rustup for Rust $channel with $target"
  timeout 300 rustup toolchain install "$channel" --no-self-update --profile minimal \
    --component rustfmt --component clippy --target "$target" >&2 && find_rustup ||
    { say "rustup could not deliver it"; return 1; }
}

has_debian_packages() {
  local status
  status=$(dpkg-query -W -f '${db:Status-Status}\n' "${debian_packages[@]}" 2>/dev/null) &&
    ! grep -qvx installed <<<"$status"
}

# By the packages' version, because a std serves only the compiler that built it.
find_debian() {
  has_debian_packages || return 1
  root=$cache/debian-$(dpkg-query -W -f '${Version}' rustc-web)
  has_std "$root"
}

install_debian() {
  has_debian_packages || apt_install "${debian_packages[@]}" || return 1
  find_debian || build_std
}

# Debian packs no std for the target but its sources, vendored crates included.
build_std() {
  local work=$root.partial us=$'\x1f'
  say "building std for $target (30 s)"
  rm -rf "$work"
  mkdir -p "$work"/{bin,lib/rustlib/$target/lib,empty/src,empty/.cargo}
  touch "$work/empty/src/lib.rs"
  printf '[package]\nname = "empty"\nedition = "2024"\n' >"$work/empty/Cargo.toml"
  printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' \
    /usr/lib/rustlib/src/rust/library/vendor >"$work/empty/.cargo/config.toml"
  # Without bitcode LTO fails ("Can't find section .llvmbc"); without the remapping
  # paths of this machine are embedded in the kernel.
  (cd "$work/empty" && env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=target \
    CARGO_ENCODED_RUSTFLAGS="-Cembed-bitcode=yes$us--remap-path-prefix=$PWD=/std$us--remap-path-prefix=/usr/lib/rustlib/src/rust=/rustc" \
    /usr/bin/cargo build -Zbuild-std=std,panic_abort --target $target --release --offline >&2) || return 1
  cp "$work/empty/target/$target/release/deps"/*.rlib "$work/lib/rustlib/$target/lib/"
  rm -rf "$work/lib/rustlib/$target/lib"/libempty-* "$work/empty"
  # Beside it the host's parts, for the procedural macros, and a rustc that looks here.
  ln -s /usr/lib/rustlib/*-unknown-linux-gnu "$work/lib/rustlib/"
  ln -s /usr/bin/cargo "$work/bin/cargo"
  printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "${0%%/bin/rustc}" "$@"\n' >"$work/bin/rustc"
  chmod +x "$work/bin/rustc"
  rm -rf "$root"
  mv "$work" "$root"
}

# --- The tools: exact versions, each in a folder of its own ---

tools=("wasm-pack $wasm_pack" "wasm-bindgen-cli $wasm_bindgen")
tool_dir() { echo "$cache/$1-$2"; }
has_tool() { [ -x "$(tool_dir "$1" "$2")/bin/${1%-cli}" ]; }

# No --locked: wasm-bindgen-cli's own lock file names a release that is not to be had.
# No optimization: to compile these takes minutes, to run them a second.
# No default features: wasm-bindgen-cli's are TLS for its test runner, which isn't used.
# One target folder: a third of its crates are wasm-pack's.
tools_target=$cache/target
install_tool() {
  has_tool "$1" "$2" && return
  command -v cc >/dev/null || apt_install gcc libc6-dev ||
    die "missing: a C compiler (cc), to link $1"
  say "compiling $1 $2 (2 minutes)"
  PATH=$root/bin:$PATH RUSTC=$root/bin/rustc \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_TARGET_DIR=$tools_target \
    "$root/bin/cargo" install --no-default-features --root "$(tool_dir "$1" "$2")" \
    --bin "${1%-cli}" "$1@$2" >&2 ||
    die "missing: $1 $2, cargo could not install it"
}

has_binaryen() {
  [ "$(node -p 'require("./scripts/kernel/node_modules/binaryen/package.json").version' 2>/dev/null)" = "$binaryen" ]
}

if $install; then
  { allows rustup && { find_rustup || install_rustup; }; } ||
    { allows debian && install_debian; } ||
    die "missing: Rust for $target. Either install rustup (https://rustup.rs) with a network that" \
      "reaches it, or use a Debian that has ${debian_packages[*]}, as root; then run this again."
  for tool in "${tools[@]}"; do install_tool $tool; done
  rm -rf "$tools_target"
  has_binaryen || { say "installing binaryen $binaryen" && npm ci --prefix scripts/kernel >&2; }
fi

missing() { die "missing: $1; scripts/toolchain.sh installs it"; }
{ allows rustup && find_rustup; } || { allows debian && find_debian; } ||
  missing "Rust for $target (WASM_TOOLCHAIN=$route)"
path=$root/bin
for tool in "${tools[@]}"; do
  has_tool $tool || missing "$tool"
  path=$path:$(tool_dir $tool)/bin
done
has_binaryen || missing "binaryen $binaryen"

if $install; then
  say "ready: $("$root/bin/rustc" -V), wasm-pack $wasm_pack, wasm-bindgen $wasm_bindgen, binaryen $binaryen"
else
  echo "$path"
fi
