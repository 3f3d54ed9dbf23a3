# For the scripts of this folder: state, class path, pid files, waiting. Needs Bash 5 and /proc.

fail() { printf '%s: %s\n' "$service" "$*" >&2; exit 1; }

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
state=${CELLSPACE_DEV_STATE:-$here/.state}/$service
mkdir -p "$state" || fail "cannot make $state"
state=$(cd -- "$state" && pwd)

# How far behind others it is where all want the processor.
behind=${CELLSPACE_DEV_NICE:-0}
[[ $behind =~ ^1?[0-9]$ ]] || fail "CELLSPACE_DEV_NICE is not a number from 0 to 19: $behind"

port_of() { [[ $1 =~ ^[0-9]+$ ]] && ((10#$1 >= 1024 && 10#$1 <= 65000)) || fail "not a port from 1024 to 65000: $1"; }

listening() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# Fails when port $2 of $1 is in use; one that was just left is free in a moment.
free() {
  local i
  for ((i = 0; i < 50; i++)); do
    listening "$1" "$2" || return
    sleep 0.1
  done
  fail "port $2 of $1 is in use; choose others with --port"
}

# Whether the process of pid file $1 lives and was started from directory $2, which its command line names: the pid of another never counts.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [[ $pid =~ ^[0-9]+$ ]] && grep -qzxF -- "-Dcellspace.dev=$2" "/proc/$pid/cmdline" 2>/dev/null
}

# Ends the process of pid file $1 from directory $2, after $3 seconds by force.
end() {
  local i
  if alive "$1" "$2"; then
    kill -TERM "$(<"$1")" 2>/dev/null
    for ((i = 0; i < $3 * 10; i++)); do
      alive "$1" "$2" || break
      sleep 0.1
    done
    if alive "$1" "$2"; then
      kill -KILL "$(<"$1")" 2>/dev/null
      while alive "$1" "$2"; do sleep 0.1; done
    fi
  fi
  rm -f "$1"
}

# The class path of the service's pom, asked of Maven once for each content of the pom, and again when a jar is gone.
class_path() {
  local pom=$here/$service.pom.xml jar known
  known=$state/$(sha256sum "$pom" | cut -c1-16).classpath
  command -v java >/dev/null || fail "java is not installed (Java 17)"
  if [[ -s $known ]]; then
    while read -r jar; do [[ -e $jar ]] || { rm -f "$known"; break; }; done < <(tr ':' '\n' <"$known"; echo)
  fi
  if [[ ! -s $known ]]; then
    command -v mvn >/dev/null || fail "mvn is not installed (Maven)"
    mvn --batch-mode --quiet -Dstyle.color=never --file "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath \
      -Dmdep.outputFile="$known.new" >&2 </dev/null || fail "Maven could not get what $pom names"
    mv "$known.new" "$known"
  fi
  cat "$known"
}

# Becomes java, $0 behind others. Where the kernel shares the processor out by sessions first, a process is behind those of its own session alone, so the session is told
# too; a few times, since it hears one at a time.
launcher='
  if [ "$0" -gt 0 ] && [ -e /proc/self/autogroup ]; then
    for i in 1 2 3 4 5; do (echo "$0" >"/proc/$$/autogroup") 2>/dev/null && break; sleep 0.2; done
  fi
  exec nice -n "$0" java "$@"'

# Starts java from directory $1, its output in $1/log, its pid in $1/pid: in a session of its own, so that it outlives the shell and holds none of its files.
launch() {
  local dir=$1 i
  shift
  (cd "$dir" && exec setsid bash -c "$launcher" "$behind" "-Dcellspace.dev=$dir" "$@" >"$dir/log" 2>&1 </dev/null) &
  echo $! >"$dir/pid"
  disown
  # Between fork and exec the command line is the shell's.
  for ((i = 0; i < 50; i++)); do
    alive "$dir/pid" "$dir" && return
    sleep 0.1
  done
}

# Waits until the log in directory $1 holds the text $2, at most $3 seconds, while the process lives.
logged() {
  local i
  for ((i = 0; i < $3 * 10; i++)); do
    grep -qF -- "$2" "$1/log" 2>/dev/null && return
    alive "$1/pid" "$1" || { tail -n 30 "$1/log" >&2; fail "it ended while it started ($1/log)"; }
    sleep 0.1
  done
  tail -n 30 "$1/log" >&2
  fail "not ready after $3 s ($1/log)"
}
