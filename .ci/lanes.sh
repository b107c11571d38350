# Steps that run beside each other, each with a log in $work/logs. To be sourced.
#
#     lane NAME COMMAND...    starts it as soon as fewer than $LANES are running
#     lanes_end               waits for all of them
#
# The first to fail ends the script, and the others: its log is printed.

LANES=${LANES:-2}
declare -A lane_name=() lane_start=()
mkdir -p "$work/logs"
set -m  # each lane is a process group of its own, so that it can be ended

lane() {
    local name=$1
    shift
    while ((${#lane_name[@]} >= LANES)); do lane_wait; done
    printf '%4ss  start  %s\n' "$SECONDS" "$name"
    (set -euo pipefail; "$@") > "$work/logs/$name.txt" 2>&1 < /dev/null &
    lane_name[$!]=$name
    lane_start[$!]=$SECONDS
}

lane_wait() {
    local pid status=0 name
    wait -n -p pid "${!lane_name[@]}" || status=$?
    name=${lane_name[$pid]}
    unset "lane_name[$pid]"
    if ((status)); then
        printf '\n=== FAILED: %s (exit code %s, after %ss)\n' "$name" "$status" "$SECONDS"
        cat "$work/logs/$name.txt"
        exit 1
    fi
    printf '%4ss  passed %s, in %ss: %s\n' "$SECONDS" "$name" "$((SECONDS - lane_start[$pid]))" \
        "$(tail -n 1 "$work/logs/$name.txt")"
}

# Waits until a lane, which may be waiting for its turn, has passed: lane_wait_for NAME
lane_wait_for() {
    while [[ " ${lane_name[*]} " == *" $1 "* ]]; do lane_wait; done
}

lanes_end() {
    while ((${#lane_name[@]})); do lane_wait; done
}

lanes_kill() {
    local pid environ
    for pid in "${!lane_name[@]}"; do kill -- "-$pid" || true; done 2> /dev/null
    wait 2> /dev/null || true
    # what has left its process group, as ipyparallel's engines do, still has our environment
    for environ in /proc/[0-9]*/environ; do
        if grep -qszF "ZMQSTREAM_VENV=$work/" "$environ"; then
            pid=${environ//[!0-9]/}
            kill "$pid" 2> /dev/null || true
        fi
    done
}
