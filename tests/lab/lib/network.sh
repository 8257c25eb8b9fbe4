# shellcheck shell=bash
# One bridge, and a network namespace with one leg on it for each node and for the registry.
#
# The namespaces are files in the lab's own state folder rather than names for `ip netns`: that command leaves
# a mount on /run/netns behind for good.

net_file() { echo "$LAB_STATE/net/$1"; }

link_exists() { ip link show dev "$1" >/dev/null 2>&1; }

# refuse_foreign_link NAME: an interface of that name that is not written down is somebody else's.
refuse_foreign_link() {
    ! link_exists "$1" || recorded link "$1" ||
        die "There is a network interface $1 that this lab did not make." \
            "If an earlier lab lost its notes in $LAB_STATE, remove it with: ip link delete $1. Else choose another GANTRY_LAB_NAME."
}

bridge_up() {
    if ! link_exists "$LAB_PREFIX"; then
        remember link "$LAB_PREFIX"
        ip link add "$LAB_PREFIX" type bridge
    fi
    refuse_foreign_link "$LAB_PREFIX"
    ip address replace "$LAB_HOST_IP/24" dev "$LAB_PREFIX"
    ip link set "$LAB_PREFIX" up
    # Docker on the host sets the policy of FORWARD to DROP, and bridges are made to ask it too. Where nothing
    # is filtered no rule is made: the first rule would leave empty tables behind.
    if iptables-save 2>/dev/null | grep -q . && ! iptables -C FORWARD "${FORWARD_RULE[@]}" 2>/dev/null; then
        remember rule "$LAB_PREFIX"
        iptables -I FORWARD 1 "${FORWARD_RULE[@]}"
    fi
}
FORWARD_RULE=(-i "$LAB_PREFIX" -o "$LAB_PREFIX" -m comment --comment "$LAB_PREFIX" -j ACCEPT)

bridge_down() {
    if recorded rule "$LAB_PREFIX"; then
        iptables -D FORWARD "${FORWARD_RULE[@]}" 2>/dev/null || true
    fi
    link_down "$LAB_PREFIX"
}

link_down() {
    ! recorded link "$1" || ip link delete "$1" 2>/dev/null || true
}

# net_up NAME IP LEG: a namespace with the address, joined to the bridge by interface LEG. Already there: kept.
net_up() {
    local file leg=$3
    file=$(net_file "$1")
    refuse_foreign_link "$leg"
    # A namespace that lost its leg, or a leg whose namespace is gone, is made anew.
    if mountpoint -q "$file" && link_exists "$leg"; then
        return
    fi
    net_down "$1" "$leg"
    mkdir -p "${file%/*}"
    touch "$file"
    unshare --net="$file" true
    remember link "$leg"
    ip link add "$leg" type veth peer name eth0 netns "$file"
    ip link set "$leg" master "$LAB_PREFIX" up
    nsenter --net="$file" ip link set lo up
    nsenter --net="$file" ip address add "$2/24" dev eth0
    nsenter --net="$file" ip link set eth0 up
}

# The leg goes first: a namespace dies only when the last process in it has, and would keep the leg until then.
net_down() {
    local file
    file=$(net_file "$1")
    link_down "$2"
    [[ ! -e $file ]] || {
        umount -n "$file" 2>/dev/null || true
        rm -f "$file"
    }
}
