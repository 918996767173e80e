#!/usr/bin/env bash
# The whole test suite: installs what is missing, builds, runs every test. Real data for the accuracy tests is taken from
# LAMINA_DATA (default: ../shared/data); tests that need it say so and are skipped where it is absent.
set -euo pipefail
cd "$(dirname "$0")"
. assets/setup.sh
parse_yes "$@"

say "1/3 packages"
install_packages $BUILD_PACKAGES $TEST_PACKAGES

say "2/3 build"
build build/release ON -j "$(nproc)"

say "3/3 tests"
: "${LAMINA_DATA:=$(cd .. && pwd)/shared/data}"
export LAMINA_DATA
[ -d "$LAMINA_DATA" ] || echo "no real data at $LAMINA_DATA: accuracy tests on it are skipped (set LAMINA_DATA)"
[ -d build/release/emulator ] || echo "no headers of CUDA and cuDNN here: tests of the GPU backend are left out"
status=0
log=build/release/test.log
ctest --test-dir build/release -j "$(nproc)" --output-on-failure | tee "$log" || status=$?
if [ $status -ne 0 ]; then
  echo "Some tests failed. One alone: ctest --test-dir build/release -R NAME --output-on-failure"
  exit 1
fi
skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
echo
if [ "$skipped" = 0 ]; then
  echo "All tests passed."
else
  echo "All tests that ran passed; $skipped were skipped (marked Skipped above)."
fi
cat <<'END'
Try next: ./quickstart.sh trains a network in a minute or two;
cmake --preset asan && cmake --build --preset asan && ctest --preset asan runs the tests under sanitizers.
END
