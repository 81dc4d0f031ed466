#!/usr/bin/env bash
# Runs `kdjax run` on a Cloud TPU VM, on one host or a pod of several.
#
#   launch/tpu_vm.sh create                                creates the machine
#   launch/tpu_vm.sh copy                                  copies and installs
#                                                          this tree
#   launch/tpu_vm.sh run --config=... --workdir=...        on all workers
#   launch/tpu_vm.sh fetch --workdir=...                   into ./runs
#   launch/tpu_vm.sh delete                                deletes the machine
#   launch/tpu_vm.sh all --config=... --workdir=...        all five, in order
#
#   --name=NAME         or TPU_NAME; kdjax by default
#   --zone=ZONE         or TPU_ZONE, such as us-west4-a
#   --type=TYPE         or TPU_TYPE; v5litepod-8 by default
#   --version=VERSION   or TPU_VERSION; v2-alpha-tpuv5-lite by default
#   --project=PROJECT   or TPU_PROJECT; gcloud's default otherwise
#   --spot              creates a cheaper machine that may be preempted
#   --delete-on-failure   `all` deletes the machine also if a step fails;
#                       without it the machine stays and costs money
#   --dry-run           prints every command and runs none
#   --help              prints this help
#
# Other options go to `kdjax run`, which starts on every worker with
# KDJAX_DISTRIBUTED=on, so that the workers find each other. Several workers
# share no disk: their workdir must be on storage that all of them mount, such
# as Filestore, or a bucket mounted by gcsfuse. The same `run` continues a run.
# Needs git, and gcloud with a login.

set -euo pipefail

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

mistake() {
  echo "launch/tpu_vm.sh: $1 See launch/tpu_vm.sh --help." >&2
  exit 2
}

name=${TPU_NAME:-kdjax}
zone=${TPU_ZONE:-}
type=${TPU_TYPE:-v5litepod-8}
version=${TPU_VERSION:-v2-alpha-tpuv5-lite}
project=${TPU_PROJECT:-}
spot="" delete_on_failure="" dry="" workdir="" config="" words=()

command=${1:-}
[[ $command != --help ]] || { usage && exit; }
case $command in
  create | copy | run | fetch | delete | all) shift ;;
  *)
    mistake "No command '$command'. There are: all, copy, create, delete,\
 fetch, run."
    ;;
esac
for word in "$@"; do
  case $word in
    --help) usage && exit ;;
    --dry-run) dry=yes ;;
    --spot) spot=yes ;;
    --delete-on-failure) delete_on_failure=yes ;;
    --name=*) name=${word#*=} ;;
    --zone=*) zone=${word#*=} ;;
    --type=*) type=${word#*=} ;;
    --version=*) version=${word#*=} ;;
    --project=*) project=${word#*=} ;;
    --name | --zone | --type | --version | --project | --config | --workdir)
      mistake "$word has no value. Expected $word=<value>."
      ;;
    *)
      words+=("$word")
      [[ $word != --workdir=* ]] || workdir=${word#*=}
      [[ $word != --config=* ]] || config=${word#*=}
      ;;
  esac
done
[[ -n $zone ]] || mistake "No zone. Expected --zone=<zone> or TPU_ZONE."
case $command in
  create | copy | delete)
    ((!${#words[@]})) || mistake "'$command' has no option '${words[0]}'."
    ;;
  fetch)
    [[ -n $workdir && ${#words[@]} == 1 ]] ||
      mistake "Expected only --workdir=<folder> for 'fetch'."
    ;;
  run | all)
    # Checked here, before a machine costs money.
    [[ -n $workdir && -n $config ]] ||
      mistake "Nothing to run. Expected --config=<file> --workdir=<folder>."
    ;;
esac

if [[ -z $dry ]] && ! command -v gcloud >/dev/null; then
  mistake "gcloud is not on PATH."
fi

place=("--zone=$zone")
[[ -z $project ]] || place+=("--project=$project")
tpu=(gcloud compute tpus tpu-vm)

# A line of words, quoted for the shell where needed.
quoted() {
  local word line=""
  for word in "$@"; do
    if [[ $word =~ [^A-Za-z0-9_./:=@%+,-] || -z $word ]]; then
      word=$(sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/" <<<"$word")
    fi
    line+=" $word"
  done
  echo "${line# }"
}

perform() { # a command
  quoted "$@"
  [[ -n $dry ]] || "$@"
}

on_all() { # a line of shell
  perform "${tpu[@]}" ssh "$name" "${place[@]}" --worker=all "--command=$1"
}

create() {
  local cheaper=()
  [[ -z $spot ]] || cheaper=(--spot)
  perform "${tpu[@]}" create "$name" "${place[@]}" \
    "--accelerator-type=$type" "--version=$version" \
    "${cheaper[@]+"${cheaper[@]}"}"
}

copy() {
  local top folder files
  top=$(git rev-parse --show-toplevel)
  folder=.
  [[ -n $dry ]] || folder=$(mktemp -d)
  files=$folder/files
  # The working tree: tracked files, and new files that git does not ignore.
  echo "git ls-files --cached --others --exclude-standard |" \
    "tar -czf kdjax.tar.gz -T -"
  if [[ -z $dry ]]; then
    # git lists deleted files until the deletion is committed.
    git -C "$top" ls-files -z --cached --others --exclude-standard |
      while IFS= read -r -d '' file; do
        [[ ! -e $top/$file ]] || printf '%s\0' "$file"
      done >"$files"
    tar -czf "$folder/kdjax.tar.gz" -C "$top" --null -T "$files"
  fi
  perform "${tpu[@]}" scp "$folder/kdjax.tar.gz" "$name:" "${place[@]}" \
    --worker=all
  [[ -n $dry ]] || rm -r "$folder"
  local install=(
    # Deleted files must not stay: every file registers a component. Runs stay.
    "mkdir -p kdjax"
    "find kdjax -mindepth 1 -maxdepth 1 ! -name runs -exec rm -rf {} +"
    "tar -xzf kdjax.tar.gz -C kdjax"
    # The machine's Python is too old for kdjax; uv installs another.
    "python3 -m pip install --quiet --user uv"
    "{ [ -d venv ] || python3 -m uv venv --seed --python=3.12 venv; }"
    "cd kdjax"
    '../venv/bin/pip install --quiet -e ".[tpu]"'
  )
  local line
  line=$(printf ' && %s' "${install[@]}")
  on_all "${line# && }"
}

run() {
  local kdjax="KDJAX_DISTRIBUTED=on ../venv/bin/kdjax"
  on_all "cd kdjax && $kdjax run $(quoted "${words[@]}")"
}

fetch() {
  perform mkdir -p runs
  local remote=kdjax/$workdir
  [[ $workdir != /* ]] || remote=$workdir
  perform "${tpu[@]}" scp --recurse "$name:$remote" runs/ "${place[@]}" \
    --worker=0
}

delete() {
  perform "${tpu[@]}" delete "$name" "${place[@]}" --quiet
}

after_failure() {
  local status=$?
  trap - EXIT
  ((status)) || exit 0
  if [[ -n $delete_on_failure ]]; then
    delete || true
  else
    echo "launch/tpu_vm.sh: failed; '$name' still exists and costs money." \
      "Delete it with: launch/tpu_vm.sh delete --name=$name" "${place[@]}" >&2
  fi
  exit "$status"
}

if [[ $command == all ]]; then
  create
  trap after_failure EXIT
  copy
  run
  fetch
  delete
else
  "$command"
fi
