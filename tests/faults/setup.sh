# What the scripts CASE BIN_FOLDER of this folder share: a folder of their own, how a case fails, what runs are compared by.
# Sourced, not run.
set -u
case_name=$1
bin=$(cd "$2" && pwd)
images=$(cd "$(dirname "$0")/../fuzz/corpus/image" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export LAMINA_CACHE=$work/cache

fail() {
    echo "FAILED: $*" >&2
    [ -f log ] && sed 's/^/  log: /' log >&2
    exit 1
}

# What must be the same after a resume: every line but those that tell of time.
metrics() {
    grep -vE 'images_per_s|"(busy|starved|blocked)/' "$1/metrics.jsonl" | sed 's/,"time":.*//'
}

# Weights, statistics and optimizer state; texts tell of options, too.
tensors() {
    perl -e 'open(F, "<", $ARGV[0]); binmode F; read(F, my $n, 8); seek(F, 8 + unpack("Q", $n), 0); print <F>' \
        "$1/checkpoints/last.safetensors"
}

# Waits until run $1 has logged step $2; $3: its process.
wait_for_step() {
    for _ in $(seq 6000); do
        grep -qs "\"step\":$2," "$1/metrics.jsonl" && return 0
        kill -0 "$3" 2>/dev/null || return 1
        sleep 0.01
    done
    return 1
}

# stopped TEXT COMMAND...: exit status 2, one line on stderr that holds the text.
stopped() {
    local text=$1
    shift
    rm -rf bad
    "$@" >out 2>log
    local got=$?
    [ "$got" = 2 ] || fail "exit status $got, not 2: $*"
    grep -qF -- "$text" log || fail "'$text' is not in the error of: $*"
    [ "$(wc -l <log)" = 1 ] || fail "more than one line of error: $*"
}

# refused TEXT COMMAND...: the same before anything was begun: there is no folder "bad" of a run.
refused() {
    stopped "$@"
    [ -e bad ] && fail "a refused run left a folder: $*"
    return 0
}

# make_data FOLDER TRAIN VAL: CIFAR-10's binary format, images whose colour says the class.
make_data() {
    mkdir -p "$1"
    perl -e 'my ($n, $out) = @ARGV; srand(7); open(F, ">", $out); binmode F;
        for my $i (0 .. $n - 1) { my $k = $i % 10; print F chr($k);
            print F pack("C*", map { (25 * $k + int($_ / 64) * ($k + 1) + int(rand(60))) % 256 } 0 .. 3071) }' \
        "$2" "$1/data_batch_1.bin"
    perl -e 'my ($n, $out) = @ARGV; srand(8); open(F, ">", $out); binmode F;
        for my $i (0 .. $n - 1) { my $k = $i % 10; print F chr($k);
            print F pack("C*", map { (25 * $k + int($_ / 64) * ($k + 1) + int(rand(60))) % 256 } 0 .. 3071) }' \
        "$3" "$1/test_batch.bin"
}
