# What the scripts CASE BIN_FOLDER of this folder share: a folder of their own, and how a case fails. Sourced, not run.
set -u
case_name=$1
bin=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LAMINA_CACHE=$work/cache

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
