#!/bin/sh
# Builds the targets with coverage instrumentation on the stable toolchain, without cargo-fuzz. Programs are put into
# target/HOST/release/. Dependencies written in C are not instrumented.
set -eu
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# An explicit host keeps the flags away from build scripts.
cargo build --release --target "$host" "$@"
echo "target/$host/release"
