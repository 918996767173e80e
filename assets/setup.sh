# What quickstart.sh and test.sh share: install Debian packages that are missing, configure, build.
# Sourced, not run. Reads YES (1: never ask) and needs the repository's root as the current folder.

BUILD_PACKAGES="build-essential cmake ninja-build pkg-config git libdnnl-dev libgomp1 libpng-dev libturbojpeg0-dev
  libexif-dev libmatio-dev libjansson-dev libinih-dev libexpat1-dev libprotobuf-c-dev protobuf-c-compiler"
TEST_PACKAGES="libcmocka-dev libopenmpi-dev openmpi-bin"

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# install_packages PACKAGE...: apt-get install of those that dpkg does not know as installed.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || { echo "all $# packages are installed"; return; }
  command -v apt-get >/dev/null || die "packages are missing (${missing[*]}) and there is no apt-get; install them by hand"
  local sudo=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "packages are missing; run as root: apt-get install ${missing[*]}"
    sudo=sudo
    if [ "${YES:-0}" != 1 ]; then
      printf 'install %s? [Y/n] ' "${missing[*]}"
      local answer
      read -r answer
      case "$answer" in [nN]*) die "nothing was installed" ;; esac
    fi
  fi
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq || die "apt-get update failed"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get install failed"
}

# build FOLDER TESTS [ninja's arguments]: configure with the tests (ON) or without (OFF), build quietly, show the log where it fails.
build() {
  local folder=$1 tests=$2 log=$1/build.log
  shift 2
  mkdir -p "$folder"
  cmake -G Ninja -S . -B "$folder" -DCMAKE_BUILD_TYPE=Release -DLAMINA_TESTS="$tests" >"$log" 2>&1 || { cat "$log" >&2; die "cmake failed"; }
  ninja -C "$folder" "$@" >"$log" 2>&1 || { tail -n 60 "$log" >&2; die "the build failed; the whole log is $log"; }
  echo "built in $folder"
}

# parse_yes "$@": sets YES for -y or --yes, prints the usage for anything else.
parse_yes() {
  YES=0
  while [ $# -gt 0 ]; do
    case "$1" in
      -y | --yes) YES=1 ;;
      *) echo "usage: $0 [-y]   (-y: install packages without asking)" >&2; exit 2 ;;
    esac
    shift
  done
}
