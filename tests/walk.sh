#!/usr/bin/env bash
# Walks the README as a newcomer does, on terminals of 80 columns and 24 rows (tmux), with empty
# homes: five consoles on one machine, a LAN, and a chain of one's own that a friend joins by an
# invite. Each screen is kept and looked at: the sentences that a reader expects, no word that the
# terminal broke, no refusal. Prints one line for each part, with the commands that each person
# typed to get there, and the seconds to the first chat line and to the first payment seen.
#   tests/walk.sh [--binary FILE] [--out FOLDER]
# Needs tmux. Machines of their own need root and ip; without them the LAN is left out, and the
# invite is used on one machine.
set -u
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 2
binary='' out=target/walk
while (($#)); do
  case $1 in
    --binary) binary=${2:?a file} && shift 2 ;;
    --out) out=${2:?a folder} && shift 2 ;;
    *) echo "usage: tests/walk.sh [--binary FILE] [--out FOLDER]" >&2 && exit 2 ;;
  esac
done
if [[ -z $binary ]]; then
  cargo build --locked || exit 2
  binary=${CARGO_TARGET_DIR:-target}/debug/friendchain
fi
binary=$(realpath "$binary")
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
mkdir "$work/bin"
ln -s "$binary" "$work/bin/friendchain"
# Names of this run alone: others may run at the same time.
unique=fcwalk$$
hosts=()

tm() { tmux -L "$unique" "$@"; }

# End what this run has started: the shells, and with them the nodes, and the hosts.
finish() {
  tm kill-server 2>/dev/null
  local host
  for host in "${hosts[@]}"; do ip netns del "$host" 2>/dev/null; done
  rm -rf "$work"
}
trap finish EXIT

# host NUMBER: makes a machine of its own on the switch, 10.77.0.NUMBER.
host() {
  local name=$unique-$1
  ip netns add "$name" || return 1
  hosts+=("$name")
  ip -n "$name" link set lo up
  [[ $1 == 0 ]] && { ip -n "$name" link add br0 type bridge && ip -n "$name" link set br0 up; return; }
  ip link add "w$$-$1" netns "$unique-0" type veth peer name eth0 netns "$name"
  ip -n "$unique-0" link set "w$$-$1" master br0 up
  ip -n "$name" addr add "10.77.0.$1/24" brd + dev eth0
  ip -n "$name" link set eth0 up
  ip -n "$name" route add default via 10.77.0.254
}

# person NAME HOME [HOST]: a terminal with a shell, in an empty home.
person() {
  local name=$1 home=$work/$2 at=${3:-}
  mkdir -p "$home"
  local shell=(env -i "HOME=$home" "PATH=$work/bin:/usr/bin:/bin" TERM=xterm-256color LANG=C.UTF-8
    TZ=UTC 'PS1=$ ' bash --norc --noprofile)
  [[ -n $at ]] && shell=(nsenter "--net=/run/netns/$unique-$at" "${shell[@]}")
  tm -f /dev/null new-session -d -s "$name" -x 80 -y 24 "${shell[@]}"
  commands[$name]=0
  see "$name" '$'
}

# say NAME TEXT: types a line.
say() {
  tm send-keys -t "$1" -l "$2"
  tm send-keys -t "$1" Enter
}

# run NAME COMMAND: types a command into the shell or the console, which is counted.
run() {
  commands[$1]=$((commands[$1] + 1))
  say "$1" "$2"
}

# The text of a terminal on one line, with what has scrolled away.
text() { tm capture-pane -t "$1" -p -S -300 | tr -s ' \n' ' '; }

number=0
# see NAME SENTENCE [SECONDS]: waits for a sentence, keeps the screen, and looks at it.
see() {
  local name=$1 sentence=$2 file deadline=$((SECONDS + ${3:-30}))
  while [[ $(text "$name") != *"$sentence"* ]]; do
    if ((SECONDS > deadline)); then
      echo "$part: '$sentence' does not come on the screen of $name:"
      tm capture-pane -t "$name" -p
      exit 1
    fi
    sleep 0.1
  done
  number=$((number + 1))
  file=$out/$part-$(printf %02d "$number")-$name.txt
  tm capture-pane -t "$name" -p >"$file"
  look "$name" "$file"
}

# look NAME FILE: no refusal, and no word that the terminal broke. A word wider than the screen,
# such as an invite, is broken wherever it stands.
look() {
  local line word wide
  if grep -nE '^(error|[Uu]sage):|panicked|is no command (here|:)|refused' "$2"; then
    echo "$part: a refusal on the way of $1, see $2"
    exit 1
  fi
  while IFS= read -r line; do
    ((${#line} > 80)) || continue
    wide=''
    for word in $line; do ((${#word} > 80)) && wide=yes; done
    [[ -n $wide ]] || [[ ${line:79:1} == ' ' || ${line:80:1} == ' ' ]] && continue
    echo "$part: a word is broken on the screen of $1: $line"
    exit 1
  done < <(tm capture-pane -t "$1" -p -J)
}

now() { date +%s%N; }
# since START: seconds with one decimal.
since() { local ms=$((($(now) - $1) / 1000000)) && echo "$((ms / 1000)).$((ms % 1000 / 100))"; }

# bar TEXT: the line of a part.
bar() { echo "bar walk-$part: $1"; }

declare -A commands

one_machine() {
  part=one-machine
  local start chat paid name port=8891 all=(yzw yjf sr hjs xzq)
  for name in "${all[@]}"; do person "$name" home ${lan:+0}; done
  start=$(now)
  for name in "${all[@]}"; do
    run "$name" "friendchain people 127.0.0.1 $port $name"
    see "$name" "node $name; h shows help, q stops it"
    port=$((port + 1))
  done
  for name in yjf sr hjs xzq; do see yzw "$name"; done
  see yjf 'yzw'
  say yzw 'c yjf Good morning to you'
  see yjf 'yzw: Good morning to you'
  chat=$(since "$start")
  say yzw 'ca hello, all of you'
  for name in yjf sr hjs xzq; do see "$name" 'yzw to all: hello, all of you'; done
  say yzw 'b GoodMorning!'
  see yzw 'in the mempool, waiting to be mined'
  for name in "${all[@]}"; do see "$name" ': GoodMorning!' 60; done
  say yzw 'lf'
  for name in yjf sr hjs xzq; do see yzw "$name here now"; done
  say yzw 'c yjf'
  see yzw 'to yjf from now on'
  say yzw 'and a line that is no command'
  see yjf 'yzw: and a line that is no command'
  say yzw mine
  see yzw 'Mined block' 60
  say yzw "send 10 yjf --memo 'for the tea'"
  see yjf 'yzw paid you 10: for the tea (waiting)' 60
  paid=$(since "$start")
  see yjf 'yzw paid you 10: for the tea (in block' 60
  say yzw 'payments'
  see yzw '-10 yjf'
  say yjf 'balance'
  see yjf 'confirmed'
  for word in la lb ln sync h; do say yjf "$word" && sleep 0.5 && see yjf "> $word"; done
  say yzw q
  see yjf 'yzw has left'
  leave yjf sr hjs xzq
  bar "1 command each for 5 consoles, $chat s to the first chat line, $paid s to the first payment $(verdict 1 "${all[@]}")"
}

# leave NAME...: ends the consoles, and their shells.
leave() {
  local name
  for name; do say "$name" q; done
  for name; do see "$name" '> q $'; done
  tm kill-server
  sleep 0.5
}

# verdict MOST NAME...: the verdict on the number of commands that each person typed.
verdict() {
  local name most=$1
  shift
  for name; do
    ((commands[$name] <= most)) || { echo "${commands[$name]} commands of $name MISSED"; return; }
  done
  echo ok
}

on_a_lan() {
  part=lan
  if [[ -z $lan ]]; then
    echo "bar walk-lan: SKIPPED, machines of their own need root and ip"
    return
  fi
  local start chat name
  person yzw lan-yzw 1
  person yjf lan-yjf 2
  start=$(now)
  for name in yzw yjf; do
    run "$name" "friendchain people $name"
    see "$name" 'whoever is on this LAN'
    say "$name" ''
    see "$name" "node $name; h shows help"
  done
  see yzw 'yjf is here' 60
  see yjf 'yzw is here' 60
  say yjf 'c yzw Good evening'
  see yzw 'yjf: Good evening'
  chat=$(since "$start")
  leave yzw yjf
  bar "1 command each, $chat s to the first chat line $(verdict 1 yzw yjf)"
}

own_chain() {
  part=own-chain
  local start chat paid invite joined
  person yzw own-yzw ${lan:+1}
  person yjf own-yjf ${lan:+2}
  start=$(now)
  run yzw 'friendchain people yzw'
  see yzw 'a new group'
  say yzw n
  see yzw "The group's name"
  say yzw club
  see yzw 'node yzw; h shows help' 120
  run yzw invite
  see yzw 'The invite holds'
  see yzw 'friendchain:'
  invite=$(tm capture-pane -t yzw -p -J -S -300 | grep -o 'friendchain:[A-Za-z0-9_-]*' | tail -n 1)
  run yjf "friendchain join $invite"
  see yjf 'Your name in club'
  say yjf yjf
  see yjf 'Joined chain club'
  see yjf 'Open the console now?'
  say yjf ''
  see yjf 'yzw is here' 60
  # The bar: two commands each, with the word invite in the console.
  joined=$(verdict 2 yzw yjf)
  see yzw 'wants to be your friend: accept-friend yjf'
  say yjf 'ca hello from the other machine'
  see yjf 'sent to 1 friend'
  say yzw 'accept-friend yjf'
  see yzw 'is your friend now.'
  see yzw 'yjf to all: hello from the other machine'
  chat=$(since "$start")
  say yzw "send 10 yjf --memo 'for the tea'"
  see yjf 'yzw paid you 10: for the tea (waiting)' 60
  paid=$(since "$start")
  see yjf 'yzw paid you 10: for the tea (in block' 60
  say yzw payments
  see yzw '-10 yjf'
  say yjf q
  see yzw 'yjf has left'
  see yjf '> q $'
  say yjf 'friendchain status'
  see yjf 'name yjf'
  say yjf 'friendchain people yjf'
  see yjf 'yzw is here' 60
  leave yzw yjf
  bar "${commands[yzw]} commands for who founds it, ${commands[yjf]} for who joins, $chat s to the first chat line, $paid s to the first payment $joined"
}

command -v tmux >/dev/null || { echo "the walk needs tmux" >&2 && exit 2; }
part=start lan=''
if ((EUID == 0)) && command -v ip >/dev/null && host 0; then
  lan=yes
  host 1
  host 2
fi
one_machine
on_a_lan
own_chain
echo "bar walk: $number screens in $out ok"
