#!/bin/bash
# Builds all fuzz targets, runs each (or those named) for SECONDS, and prints one line for each.
# Fails on a finding.
#   fuzz/run.sh SECONDS [TARGET...]
# New inputs go to fuzz/target/inputs, so that fuzz/corpus changes only on purpose (see README.md).
set -u -o pipefail
cd "$(dirname "$0")" || exit 2
seconds=${1:?seconds for each target}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] ||
  targets=(consensus_layouts wire_messages texts stored_records accept_headers accept_block)

# Safe Rust needs no sanitizer, and runs twice as fast without. The targets count their own memory.
cargo +nightly fuzz build -s none || exit 2

# Chains in memory allocate and free megabytes in each run. Keep glibc from returning them to the
# system every time.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483648
export MALLOC_TOP_PAD_=67108864

failed=0
for target in "${targets[@]}"; do
  inputs=target/inputs/$target
  log=target/$target.log
  mkdir -p "$inputs"
  # The longest input, enough for several of the values that the target reads.
  case $target in
    consensus_layouts) options=(-max_len=16384) ;;
    wire_messages) options=(-max_len=32768) ;;
    texts) options=(-max_len=8192 -dict=texts.dict) ;;
    stored_records) options=(-max_len=2048) ;;
    *) options=(-max_len=1024) ;;
  esac
  before=$SECONDS
  cargo +nightly fuzz run -s none "$target" "$inputs" "corpus/$target" -- \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    "${options[@]}" >"$log" 2>&1
  outcome=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" |
    tail -1)
  figures="${executions:-?} executions in $((SECONDS - before)) s, $coverage"
  if [ $outcome -eq 0 ]; then
    echo "bar fuzz-$target: $figures, 0 findings ok"
  else
    echo "bar fuzz-$target: $figures, a FINDING: see fuzz/$log MISSED"
    failed=1
  fi
done
exit $failed
