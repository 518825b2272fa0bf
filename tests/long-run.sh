#!/usr/bin/env bash
# What takes longer than a change can wait for: thousands of histories, hundreds of crashes and kills, ten minutes of
# fuzzing for each target, and every bench. One line for each bar; all else that was said is in target/long-run/.
#   tests/long-run.sh            all of it: about two hours and a half on two cores, on a machine that does nothing else
#   tests/long-run.sh PART...    some: model crash kill benches fuzz
# Fuzzing needs the nightly toolchain and cargo-fuzz (fuzz/README.md says how they are had).
set -u
cd "$(dirname "$0")/.." || exit 2
parts=("$@")
((${#parts[@]})) || parts=(model crash kill benches fuzz)
logs=target/long-run
mkdir -p "$logs"
missed=0

# check NAME COMMAND...: runs it, prints its bars, and says so when it fails or prints none.
check() {
  local name=$1 log="$logs/$1.log"
  shift
  "$@" >"$log" 2>&1
  local outcome=$?
  grep -a '^bar ' "$log" || { ((outcome == 0)) && echo "bar $name: passed ok"; }
  if ((outcome != 0)); then
    echo "bar $name: failed, see $log MISSED"
    missed=1
  elif grep -aq '^bar .*MISSED$' "$log"; then
    missed=1
  fi
}

model() {
  check model-histories env FRIENDCHAIN_HISTORIES=5000 cargo test --locked --lib engine_and_model -- --nocapture
  check model-properties env FRIENDCHAIN_HISTORIES=500 cargo test --locked --lib model::properties
  check mempool-histories env FRIENDCHAIN_POLICY_HISTORIES=1000 cargo test --locked --lib the_mempool_agrees -- --nocapture
  check difficulty cargo test --locked --lib difficulty_figures -- --ignored --nocapture
}

crash() {
  check power-cuts env FRIENDCHAIN_CRASH_SEEDS=200 cargo test --locked --lib power_cut -- --nocapture
  check full-disk env FRIENDCHAIN_CRASH_SEEDS=20 cargo test --locked --lib full_disk
  check bit-flips env FRIENDCHAIN_CRASH_SEEDS=100 cargo test --locked --lib flipped_bit -- --nocapture
}

kill_nodes() {
  check kill-9-start env FRIENDCHAIN_KILLS=200 cargo test --locked --test it killed_at_any_moment -- --nocapture
}

benches() {
  check connect-unseen cargo bench --locked --bench connect -- unseen
  check connect-known cargo bench --locked --bench connect -- known
  check connect-memory cargo bench --locked --bench connect -- memory --coins 10000000
  local bench
  for bench in headers mempool mining balance start; do
    check "$bench" cargo bench --locked --bench "$bench"
  done
}

fuzz() {
  check fuzz fuzz/run.sh "${FUZZ_SECONDS:-600}"
}

for part in "${parts[@]}"; do
  case $part in
    model | crash | benches | fuzz) "$part" ;;
    kill) kill_nodes ;;
    *)
      echo "there is no part '$part': model, crash, kill, benches or fuzz" >&2
      exit 2
      ;;
  esac
done
exit "$missed"
