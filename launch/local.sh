#!/usr/bin/env bash
# Runs `kdjax run` on this host.
#
#   launch/local.sh --config=configs/digits.py --workdir=runs/digits
#       on the devices of this host, whatever they are
#   launch/local.sh --simulate=8 --config=... --workdir=...
#       on 8 devices simulated on the CPU
#   launch/local.sh --processes=2 --config=... --workdir=...
#       as 2 processes on the CPU that talk as two hosts would; with
#       --simulate=4 each of them has 4 devices
#
#   --simulate=N    N simulated CPU devices (of each process)
#   --processes=P   P processes; the first to fail stops the others, and its
#                   exit code is this script's
#   --port=PORT     where the processes meet; by default one that is free
#   --dry-run       prints what it would do
#   --help          prints this
#
# All else goes to `kdjax run`. The same command continues a run.

set -euo pipefail

# Seconds that the other processes have to stop once one has failed. They may
# hang in a collective that the failed one never joins.
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
  # Several processes would each take every accelerator of the host.
  settings+=(JAX_PLATFORMS=cpu)
fi
if [[ -n $simulate ]]; then
  flag=--xla_force_host_platform_device_count=$simulate
  settings+=(
    "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }$flag"
    # XLA sizes its thread pool by the cores. All devices must be in a
    # collective at once, and with fewer threads than devices some never get
    # there: jax 0.10 waits 40 seconds and aborts. Twice as many is enough.
    "NPROC=${NPROC:-$((2 * simulate))}"
  )
fi

if ((processes == 1)); then
  # Written so for the bash of macOS, to which an empty array is unset.
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

# Processes in the background do not hear Ctrl-C.
failed=0
trap 'failed=130' INT
trap 'failed=143' TERM

for ((i = 0; i < processes; i++)); do
  # Process 0 speaks for all; what the others say is marked as theirs.
  if ((i == 0)); then
    env "${settings[@]}" KDJAX_PROCESS_ID=0 kdjax run "${words[@]}" &
  else
    env "${settings[@]}" "KDJAX_PROCESS_ID=$i" kdjax run "${words[@]}" \
      > >(sed "s/^/[$i] /") 2> >(sed "s/^/[$i] /" >&2) &
  fi
  pids+=($!)
done

# No `wait -n`: the bash of macOS has none.
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
