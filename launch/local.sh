#!/usr/bin/env bash
# Runs `kdjax run` on this host.
#
#   launch/local.sh --config=configs/digits.py --workdir=runs/digits
#       on all devices of this host
#   launch/local.sh --simulate=8 --config=... --workdir=...
#       on 8 devices simulated on the CPU
#   launch/local.sh --processes=2 --config=... --workdir=...
#       as 2 processes on the CPU that communicate like two hosts; with
#       --simulate=4 each process has 4 devices
#
#   --simulate=N    N simulated CPU devices (per process)
#   --processes=P   P processes; if one fails, the others are stopped and this
#                   script exits with its code
#   --port=PORT     port of the coordinator; by default a free one
#   --dry-run       prints the commands and runs none
#   --help          prints this help
#
# Other options go to `kdjax run`. The same command continues a run.

set -euo pipefail

# Seconds for the other processes to stop after one has failed. They may hang
# in a collective operation that the failed process never joins.
GRACE=10

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

mistake() {
  echo "launch/local.sh: $1 See launch/local.sh --help." >&2
  exit 2
}

positive() { # flag value
  [[ $2 =~ ^[1-9][0-9]*$ ]] || mistake "$1 is '$2'. Expected a number above 0."
}

simulate="" processes=1 port="" dry="" words=()
for word in "$@"; do
  case $word in
    --help) usage && exit ;;
    --dry-run) dry=yes ;;
    --simulate=*) simulate=${word#*=} && positive --simulate "$simulate" ;;
    --processes=*) processes=${word#*=} && positive --processes "$processes" ;;
    --port=*) port=${word#*=} && positive --port "$port" ;;
    --simulate | --processes | --port)
      mistake "$word has no value. Expected $word=<number>."
      ;;
    *) words+=("$word") ;;
  esac
done
((${#words[@]})) ||
  mistake "Nothing to run. Expected --config=<file> --workdir=<folder>."

settings=()
if [[ -n $simulate ]] || ((processes > 1)); then
  # Otherwise every process would take all accelerators of the host.
  settings+=(JAX_PLATFORMS=cpu)
fi
if [[ -n $simulate ]]; then
  flag=--xla_force_host_platform_device_count=$simulate
  settings+=(
    "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }$flag"
    # XLA's thread pool has one thread per core. A collective operation needs a
    # thread for every device at once; with fewer, jax 0.10 waits 40 seconds
    # and aborts. Two threads per device are enough.
    "NPROC=${NPROC:-$((2 * simulate))}"
  )
fi

if ((processes == 1)); then
  # The bash of macOS treats an empty array as unset.
  run=(env ${settings[@]+"${settings[@]}"} kdjax run "${words[@]}")
  [[ -n $dry ]] || exec "${run[@]}"
  printf '%q ' "${run[@]}" && echo
  exit
fi

free_port() {
  python3 -c 'import socket
with socket.socket() as s:
  s.bind(("127.0.0.1", 0))
  print(s.getsockname()[1])'
}

settings+=(
  "KDJAX_COORDINATOR_ADDRESS=127.0.0.1:${port:-$(free_port)}"
  "KDJAX_NUM_PROCESSES=$processes"
)

if [[ -n $dry ]]; then
  for ((i = 0; i < processes; i++)); do
    printf '%q ' env "${settings[@]}" "KDJAX_PROCESS_ID=$i" \
      kdjax run "${words[@]}" && echo '&'
  done
  echo wait
  exit
fi

pids=()
stop() { # signal
  for pid in "${pids[@]}"; do kill "-$1" "$pid" 2>/dev/null || true; done
}
running() {
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && return; done
  return 1
}

# Background processes do not receive Ctrl-C.
failed=0
trap 'failed=130' INT
trap 'failed=143' TERM

for ((i = 0; i < processes; i++)); do
  # The output of processes other than 0 is prefixed by their number.
  if ((i == 0)); then
    env "${settings[@]}" KDJAX_PROCESS_ID=0 kdjax run "${words[@]}" &
  else
    env "${settings[@]}" "KDJAX_PROCESS_ID=$i" kdjax run "${words[@]}" \
      > >(sed "s/^/[$i] /") 2> >(sed "s/^/[$i] /" >&2) &
  fi
  pids+=($!)
done

# The bash of macOS has no `wait -n`.
waited=()
while ((!failed && ${#waited[@]} < processes)); do
  for i in "${!pids[@]}"; do
    if [[ -n ${waited[i]-} ]] || kill -0 "${pids[i]}" 2>/dev/null; then
      continue
    fi
    waited[i]=yes
    status=0
    wait "${pids[i]}" || status=$?
    if ((status && !failed)); then
      failed=$status
      echo "launch/local.sh: process $i ended with $status." >&2
    fi
  done
  sleep 0.2 || true
done

if ((failed)); then
  stop TERM
  for ((tick = 0; tick < 5 * GRACE; tick++)); do
    running || break
    sleep 0.2 || true
  done
  stop KILL
fi
exit "$failed"
