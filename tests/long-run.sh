#!/usr/bin/env bash
# Runs the checks that are too long for each change: thousands of histories, hundreds of crashes and
# kills, wrong clocks, every attack of a hostile peer, ten minutes of fuzzing for each target, every
# bench, sync and relay of real nodes over slow lines, real NAT, and an hour of chaos in Docker.
# Prints one line for each bar and attack; the full output is in target/long-run/.
#   tests/long-run.sh            all parts: about seven hours on two cores of an idle machine
#   tests/long-run.sh PART...    some: model crash kill clock halves walk simulation hostile
#                                benches network fuzz reach packages deploy
# The part reach needs root, iproute2 and nftables; REACH_RUNS sets its runs of each pair.
# The part packages needs cargo-deb. The part deploy needs cargo-deny and a Docker engine (.ci/engine.sh makes one) that has the
# base images of both Dockerfiles (deploy/, deploy/gateway/) or can pull them. Fuzzing needs the nightly toolchain and cargo-fuzz
# (fuzz/README.md shows how to install them).
set -u
cd "$(dirname "$0")/.." || exit 2
parts=("$@")
all=(model crash kill clock halves walk simulation hostile benches network fuzz reach packages deploy)
((${#parts[@]})) || parts=("${all[@]}")
logs=target/long-run
mkdir -p "$logs"
missed=0

# check NAME COMMAND...: runs the command and prints its bars, or a line if it prints none or fails.
check() {
  local name=$1 log="$logs/$1.log"
  shift
  "$@" >"$log" 2>&1
  local outcome=$?
  grep -aE '^(bar|attack) ' "$log" || { ((outcome == 0)) && echo "bar $name: passed ok"; }
  if ((outcome != 0)); then
    echo "bar $name: failed, see $log MISSED"
    missed=1
  elif grep -aqE '^(bar|attack) .*MISSED$' "$log"; then
    missed=1
  fi
}

model() {
  check model-histories env FRIENDCHAIN_HISTORIES=5000 \
    cargo test --locked --lib engine_and_model -- --nocapture
  check model-properties env FRIENDCHAIN_HISTORIES=500 cargo test --locked --lib model::properties
  check mempool-histories env FRIENDCHAIN_POLICY_HISTORIES=1000 \
    cargo test --locked --lib the_mempool_agrees -- --nocapture
  check difficulty cargo test --locked --lib difficulty_figures -- --ignored --nocapture
  check observe cargo test --locked --lib observe_figures -- --ignored --nocapture
}

crash() {
  check power-cuts env FRIENDCHAIN_CRASH_SEEDS=200 \
    cargo test --locked --lib power_cut -- --nocapture
  check full-disk env FRIENDCHAIN_CRASH_SEEDS=20 cargo test --locked --lib full_disk
  check bit-flips env FRIENDCHAIN_CRASH_SEEDS=100 \
    cargo test --locked --lib flipped_bit -- --nocapture
}

kill_nodes() {
  check kill-9-start env FRIENDCHAIN_KILLS=200 \
    cargo test --locked --test it killed_at_any_moment -- --nocapture
}

# The tests of CI run a static binary, whose clock no library can set.
clock() {
  check wrong-clocks cargo test --locked --test it clock:: -- --nocapture
}

# Two halves of the network that mined 200,000 blocks apart meet.
halves() {
  check halves env FRIENDCHAIN_HALVES=200000 \
    cargo test --locked --test it two_halves_that_were_apart -- --nocapture
}

# The whole network in virtual time: benches/simulation.md. A fault prints the way to repeat it.
# SIMULATION_SEEDS and SIMULATION_DAY_MINUTES make it shorter.
simulation() {
  local seeds=${SIMULATION_SEEDS:-100}
  check simulation-presync cargo test --locked --lib two_halves_far_apart -- --ignored
  simulate simulation-hour --nodes 100 --minutes 60 --seeds "$seeds" --faults --liars 7
  simulate simulation-day --nodes 200 --minutes "${SIMULATION_DAY_MINUTES:-1440}" --faults --liars 7
  simulate withheld-bodies --nodes 30 --minutes 60 --seeds "$((seeds / 10 + 1))" --withhold 0.25
  simulate sync-among-faults --sync 3000 --seeds 50
  simulate halves-simulated --halves 200000
}

# simulate NAME OPTION...: one run of the simulation, which prints a bar of that name.
simulate() {
  check "$1" cargo run --locked --release --example simulate -- --bar "$@"
}

# The README, walked by newcomers on terminals of 80 columns.
walk() {
  check walk tests/walk.sh --out "$logs/walk-screens"
}

# Every attack of a hostile peer, one after the other: each prints a line with its figures.
hostile() {
  check hostile cargo test --locked --test hostile -- --ignored --nocapture --test-threads 1
}

benches() {
  check connect-unseen cargo bench --locked --bench connect -- unseen
  check connect-known cargo bench --locked --bench connect -- known
  check connect-growth cargo bench --locked --bench connect -- growth
  check connect-memory cargo bench --locked --bench connect -- memory --coins 10000000
  local bench
  for bench in headers mempool mining balance start; do
    check "$bench" cargo bench --locked --bench "$bench"
  done
}

# Speed of sync and relay among real nodes: one process of the harness for each bar.
network() {
  local bar
  for bar in loopback far four-far full full-far headers slow silent cuts known-block spread \
    trades idle
  do
    check "network-$bar" cargo bench --locked --bench network -- "$bar"
  done
}

fuzz() {
  check fuzz fuzz/run.sh "${FUZZ_SECONDS:-600}"
}

# Friends behind each kind of NAT, in network namespaces: about two hours with 20 runs.
reach() {
  local part
  for part in nats pairs laptop relays idle; do
    check "reach-$part" env REACH_RUNS="${REACH_RUNS:-20}" tests/reach.sh "$part"
  done
}

# Makes the packages twice, which must give the same bytes, and runs what the .deb holds.
packages() {
  check packages make_packages
}

make_packages() {
  local work binary
  work=$(mktemp -d)
  deploy/package.sh --out "$work/first" || return 1
  binary=target/package/stage/friendchain
  cp "$binary" "$work/friendchain"
  deploy/package.sh --binary "$work/friendchain" --out "$work/second" || return 1
  cmp "$work/first/SHA256SUMS" "$work/second/SHA256SUMS" || return 1
  dpkg-deb -x "$work"/first/friendchain_*.deb "$work/root" || return 1
  "$work/root/usr/bin/friendchain" --version || return 1
  [[ -s $work/root/usr/share/man/man1/friendchain-send.1.gz ]] || return 1
  grep -q '^ExecStart=/usr/bin/friendchain ' \
    "$work/root/usr/lib/systemd/system/friendchain.service" || return 1
  rm -rf "$work"
}

# Builds the image from source. It must be under 25 MB, with the fast signature checks built in.
image() {
  DOCKER_BUILDKIT=1 docker build -q -f deploy/Dockerfile -t friendchain . || return 1
  local megabytes version
  megabytes=$(($(docker image inspect -f '{{.Size}}' friendchain) / 1000000))
  version=$(docker run --rm friendchain --version)
  echo "$version"
  [[ $(uname -m) != x86_64 || $version == *avx512* ]] || return 1
  echo "bar image-size: $megabytes MB, at most 25 $( ((megabytes < 25)) && echo ok || echo MISSED)"
}

deploy() {
  check image image
  check demo deploy/demo.sh
  check demo-wan deploy/demo.sh --wan
  check crowd deploy/crowd.sh --count 20
  local seed
  for seed in 1 2 3; do
    check "chaos-$seed" deploy/chaos.sh --minutes "${CHAOS_MINUTES:-20}" --seed "$seed"
  done
  check licences-and-sources cargo deny check bans licenses sources
  # The advisories are a download of their own. libp2p's are published elsewhere: CONTRIBUTING.md.
  if cargo deny fetch db >"$logs/advisories.log" 2>&1; then
    check advisories cargo deny check --disable-fetch advisories
  else
    echo "bar advisories: SKIPPED, the advisory database cannot be downloaded here"
  fi
}

for part in "${parts[@]}"; do
  case $part in
    kill) kill_nodes ;;
    model | crash | clock | halves | walk | simulation | hostile) "$part" ;;
    benches | network | fuzz | reach | packages | deploy) "$part" ;;
    *)
      echo "there is no part '$part', only: ${all[*]}" >&2
      exit 2
      ;;
  esac
done
exit "$missed"
