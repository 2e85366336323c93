#!/bin/sh
# Fuzzes every target for FUZZ_SECONDS (60), or those that are named. Stable Rust and a
# C++ compiler are all it needs: docs/decisions/0010-fuzzing.md.
#
# What does not hold is written to fuzz/found/TARGET/. Once it is mended, put that file
# into fuzz/corpus/TARGET/ under a name that says what it is: `make test` replays it.
set -eu

cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
target=$PWD/target/fuzz

# The coverage that guides libFuzzer, by LLVM's own pass: no sanitizer, so no nightly.
# `--target` keeps these flags from build scripts.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Clto=off -Cdebug-assertions -Coverflow-checks" \
    cargo build --release --locked --quiet -p buntime-fuzz --features libfuzzer --bin fuzz --target "$host" --target-dir "$target"

if [ $# -eq 0 ]; then
    set -- $(ls fuzz/corpus)
fi
failed=
for name in "$@"; do
    mkdir -p "$target/corpus/$name" "fuzz/found/$name"
    echo "fuzz: $name for $seconds s"
    # The first folder takes what is new; the seeds stay as they are.
    FUZZ_TARGET=$name "$target/$host/release/fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len=16384 -print_final_stats=1 -artifact_prefix="fuzz/found/$name/" \
        "$target/corpus/$name" "fuzz/corpus/$name" >"$target/$name.log" 2>&1 || failed="$failed $name"
    sed -n 's/^stat::number_of_executed_units: *\([0-9]*\)/  \1 inputs/p' "$target/$name.log"
    rmdir "fuzz/found/$name" 2>/dev/null || true
done
rmdir fuzz/found 2>/dev/null || true
if [ -n "$failed" ]; then
    for name in $failed; do
        grep -a -m1 -A2 'panicked at\|ERROR: libFuzzer' "$target/$name.log" || true
        echo "fuzz: $name does not hold; see fuzz/found/$name and $target/$name.log" >&2
    done
    exit 1
fi
