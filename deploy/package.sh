#!/usr/bin/env bash
# Makes what people install: a .tar.gz and a .deb with the static binary, man pages, completions and
# units, and their checksums. Both are the same, byte for byte, each time they are made from one
# commit with one toolchain.
#   deploy/package.sh                  builds the binary, then packs it into target/package
#   deploy/package.sh --binary FILE    packs this program, which must run on this machine
#   deploy/package.sh --out DIR        puts the packages there
#   deploy/package.sh --no-deb         packs the .tar.gz alone
# The .deb needs cargo-deb (`cargo install cargo-deb --locked`). Without it the script packs the
# .tar.gz, says so, and ends with exit code 1.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' deploy/package.sh
  exit "$1"
}
binary='' out=target/package deb=yes
while (($#)); do
  case $1 in
    --binary | --out)
      (($# > 1)) || { echo "$1 needs a value" >&2; exit 2; }
      [[ $2 == /* ]] && value=$2 || value=$here/$2
      [[ $1 == --binary ]] && binary=$value || out=$value
      shift 2
      ;;
    --no-deb)
      deb=''
      shift
      ;;
    -h | --help) usage 0 ;;
    *) echo "there is no option '$1'" >&2; usage 2 >&2 ;;
  esac
done

target=$(rustc --print host-tuple)
if [[ -z $binary ]]; then
  cargo build --release --locked --config deploy/static.toml --target "$target"
  binary=${CARGO_TARGET_DIR:-target}/$target/release/friendchain
fi
version=$("$binary" -V) || { echo "$binary does not run on this machine" >&2; exit 1; }
[[ $version == friendchain\ * ]] || { echo "$binary is not friendchain: it says '$version'" >&2; exit 1; }
version=${version#friendchain }

# The commit's time in place of the build's. Without a repository: the newest file of the sources.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || find src -type f -printf '%Ts\n' | sort -n | tail -1)}
export SOURCE_DATE_EPOCH=$epoch

# The stage has a fixed place, since the list of the .deb's files in Cargo.toml names it.
stage=target/package/stage
rm -rf "$stage"
mkdir -p "$out" "$stage"/{man,completions,systemd/system,systemd/user}
install -m 755 "$binary" "$stage/friendchain"
"$stage/friendchain" man-pages "$stage/man" >/dev/null
for shell in bash zsh fish; do
  "$stage/friendchain" completions "$shell" >"$stage/completions/friendchain.$shell"
done
install -m 644 deploy/systemd/friendchain.service "$stage/systemd/system/friendchain.service"
install -m 644 deploy/systemd/friendchain-user.service "$stage/systemd/user/friendchain.service"
install -m 644 README.md GUIDE.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE deploy/INSTALL "$stage/"

name=friendchain-$version-$target
archive=$out/$name.tar.gz
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" \
  --transform "s,^\.,$name," --directory "$stage" . | gzip --no-name -9 >"$archive"
made=("$name.tar.gz")

missing=0
if [[ -z $deb ]]; then
  :
elif command -v cargo-deb >/dev/null; then
  # A package puts programs into /usr/bin.
  sed -i 's,/usr/local/bin/,/usr/bin/,' "$stage"/systemd/*/friendchain.service
  rm -f "$out"/friendchain_*.deb
  cargo deb --quiet --no-build --no-strip --locked --output "$out/" >/dev/null
  made+=("$(cd "$out" && ls friendchain_*.deb)")
else
  echo "no .deb: it needs cargo-deb (cargo install cargo-deb --locked)" >&2
  missing=1
fi
(cd "$out" && sha256sum "${made[@]}" >SHA256SUMS)
(cd "$out" && ls -l "${made[@]}" SHA256SUMS)
exit "$missing"
