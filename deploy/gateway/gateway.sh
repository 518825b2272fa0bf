#!/bin/sh
# Makes a container the router of a home: it takes the address that is the home's default gateway,
# and translates addresses (NAT) towards its other network. Needs the capability NET_ADMIN and the
# sysctl net.ipv4.ip_forward.
#   GATEWAY   the home's gateway with its prefix length, such as 10.211.1.254/24
#   NAT       port: a mapping keeps its port, and only endpoints that were sent to get through.
#             symmetric: each destination gets a mapping at a random port.
# `nft list set ip gateway senders` lists who has sent how much to the home.
set -eu

case ${NAT:-port} in
  port) how=masquerade ;;
  symmetric) how="masquerade random,fully-random" ;;
  *)
    echo "NAT is port or symmetric, not '$NAT'" >&2
    exit 2
    ;;
esac

# Docker gives the container another address in the home, which shows the interface.
home=$(ip route get "${GATEWAY%/*}" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
ip address add "$GATEWAY" dev "$home"
# Docker has set this very address as the container's own gateway.
ip route delete default 2>/dev/null || true

# A table of its own: Docker's name server has rules in this namespace, too.
nft --file - <<RULES
table ip gateway {
  set senders { type ipv4_addr; flags dynamic; counter; }
  chain outward {
    type nat hook postrouting priority srcnat;
    oifname != { "$home", "lo" } $how
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iifname { "$home", "lo" } accept
    ct state established,related accept
    icmp type echo-request accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "$home" accept
    ct state established,related update @senders { ip saddr counter } accept
  }
}
RULES

echo "the home's gateway is $GATEWAY on $home; NAT: ${NAT:-port}"
# A shell that is the first process ends at a signal only if it has a trap.
trap 'exit 0' TERM INT
sleep infinity &
wait
