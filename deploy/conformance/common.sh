# Shared by run and serve: what the suites are, and how the system under test is built. Read by bash, not run.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cargo=${CARGO:-cargo}
profile=${CELLSPACE_CONFORMANCE_PROFILE:-dev}

fail() { echo "$(basename -- "$0"): $*" >&2; exit 2; }

# suite NAME: sets the packages of its tests, and the profile of the pom that has its modules; ends for an unknown one.
suite() {
  local dcp=org.eclipse.dataspacetck.dcp.verification
  case $1 in
    dsp) modules=dsp packages=org.eclipse.dataspacetck.dsp.verification ;;
    dcp-holder) modules=dcp packages=$dcp.presentation.cs,$dcp.issuance.cs ;;
    dcp-issuer) modules=dcp packages=$dcp.issuance.issuer ;;
    dcp-verifier) modules=dcp packages=$dcp.presentation.verifier ;;
    *) fail "there is no suite \"$1\": dsp, dcp-holder, dcp-issuer, dcp-verifier" ;;
  esac
}

# under_test [cell]: builds the system under test, and sets the path of its binary; for a cell also the product with what cells need, `program`. For the whole workspace, as its
# tests are built, so that what they have built is not built once more.
under_test() {
  local folder=$profile features=${CELLSPACE_CONFORMANCE_FEATURES:-} more=()
  [ "$profile" = dev ] && folder=debug
  [ -z "${1:-}" ] || { features+=${features:+,}cellspace/scylla,cellspace/kafka more=(--bin cellspace); }
  [ -z "$features" ] || more+=(--features "$features")
  child_waits "$cargo" build --quiet --manifest-path "$root/Cargo.toml" --workspace --profile "$profile" --example conformance "${more[@]}" \
    || fail "the system under test cannot be built"
  binary=$target/$folder/examples/conformance program=$target/$folder/cellspace
}

# child_waits COMMAND...: runs it so that a signal to this script reaches it too.
child_waits() {
  "$@" &
  child=$!
  trap 'kill -TERM "$child" 2>/dev/null; wait "$child" 2>/dev/null; exit 143' TERM INT
  local status=0
  wait "$child" || status=$?
  trap - TERM INT
  return "$status"
}
