# shellcheck shell=bash
# Engines of other releases than the installed one: Debian's packages from newer suites, unpacked and not installed.
#
# A choice is `system`, a release (26, 28), `mixed`, the folder of an unpacked engine, or a list of these with commas:
# node 1 takes the first, node 2 the second, and the nodes behind the end of the list take its last.

# Which of Debian's suites has which release. What is in a suite changes with time; then the newer one is taken, and
# that is said.
declare -A RELEASE_SUITES=([26]=trixie [28]=sid)

# All releases at once. The newest one on the first node, as a swarm is updated managers first.
RELEASE_MIXED=28,26,system

# release_choices NODES CHOICE: prints a line per node: `system` or a folder. Downloads what is missing.
release_choices() {
    local nodes=$1 list one k
    [[ $2 != mixed ]] || set -- "$1" "$RELEASE_MIXED"
    IFS=, read -ra list <<<"${2:-system}"
    for ((k = 0; k < nodes; k++)); do
        one=${list[k < ${#list[@]} ? k : ${#list[@]} - 1]}
        if [[ $one == system ]]; then
            echo system
        elif [[ -n ${RELEASE_SUITES[$one]:-} ]]; then
            release_folder "$one"
        elif [[ $one == /* && -x $one/usr/sbin/dockerd ]]; then
            echo "$one"
        else
            die "There is no engine '$one'." \
                "Choose system, mixed, $(printf '%s, ' "${!RELEASE_SUITES[@]}")or a folder with usr/sbin/dockerd in it." 2
        fi
    done
}

# releases_up NODES CHOICE: notes for each node what it runs, and the client to go with all of them. What runs already
# stays what it is.
releases_up() {
    local choices noted=$LAB_STATE/engines newest
    if [[ ! -s $noted ]]; then
        choices=$(release_choices "$1" "$2")
    elif [[ -z $2 ]]; then
        choices=$(release_choices "$1" "$(paste -sd, "$noted")")
    else
        choices=$(release_choices "$1" "$2")
        [[ $(head -n "$(wc -l <"$noted")" <<<"$choices") == "$(<"$noted")" ]] ||
            die "The lab runs other engines than $2." "Run '$LAB_SELF down' first."
    fi
    echo "$choices" >"$noted"
    newest=$(while read -r one; do echo "$(release_version "$one") $one"; done <<<"$choices" | sort -V | tail -n 1)
    newest=${newest#* }
    if [[ $newest == system ]]; then docker_cli_installed; else echo "$newest/usr/bin/docker"; fi >"$LAB_STATE/cli"
}

# release_summary: the versions that run, such as "28.5.2, 26.1.5"
release_summary() {
    local one versions=()
    while read -r one; do versions+=("$(release_version "$one")"); done < <(uniq "$LAB_STATE/engines")
    (IFS=, && echo "${versions[*]}") | sed 's/,/, /g'
}

# release_of K: what node K runs, as release_choices printed it.
release_of() { sed -n "$1p" "$LAB_STATE/engines"; }

# release_path CHOICE: where its programs are. Only runc is the machine's own: those of newer suites need a newer
# C library than this machine has.
release_path() {
    local system=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    if [[ $1 == system ]]; then echo "$system"; else echo "$1/usr/sbin:$1/usr/bin:$system"; fi
}

# release_version CHOICE: such as 28.5.2
release_version() {
    local words
    words=$(PATH=$(release_path "$1") dockerd --version)
    words=${words#*version }
    echo "${words%%[+,]*}"
}

# release_folder RELEASE: its folder in the cache, made by the first who asks.
release_folder() {
    local release=$1 suite=${RELEASE_SUITES[$1]} folder found
    folder=$LAB_CACHE/engines/$suite
    claim_folder "$LAB_CACHE"
    # One download at a time, whichever lab it is for; who finds it done does not wait for another lab's build.
    [[ -e $folder/usr/sbin/dockerd ]] || (
        flock 8
        [[ -e $folder/usr/sbin/dockerd ]] || release_unpack "$suite" "$folder"
    ) 8<"$LAB_CACHE"
    found=$(release_version "$folder")
    [[ $found == "$release".* ]] ||
        say "Debian's $suite has Docker $found instead of $release; that is what runs"
    echo "$folder"
}

# release_unpack SUITE FOLDER: the newest packages of a suite, by an apt with folders of its own, so that the machine's
# lists and packages stay as they are.
release_unpack() {
    local suite=$1 folder=$2 work=$2.new package
    say "downloading the engine of Debian's $suite"
    rm -rf --one-file-system "$work"
    mkdir -p "$work"/apt/{lists/partial,cache/archives/partial,parts} "$work/root"
    build_sources | awk -v suite="$suite" '$2 !~ /security/ {
        print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $2, suite, "main"; exit }' >"$work/apt/sources"
    # Ways of access, a proxy for example, are this machine's own.
    {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' || true
        cat <<CONFIG
Acquire::Languages "none";
Dir::State "$work/apt";
Dir::State::status "/dev/null";
Dir::Cache "$work/apt/cache";
Dir::Etc::SourceList "$work/apt/sources";
Dir::Etc::SourceParts "$work/apt/parts";
Dir::Etc::PreferencesParts "$work/apt/parts";
APT::Sandbox::User "root";
CONFIG
    } >"$work/apt/config"
    {
        APT_CONFIG=$work/apt/config apt-get update &&
            cd "$work/apt" && APT_CONFIG=$work/apt/config apt-get download docker.io docker-cli containerd
    } >"$work/apt/log" 2>&1 || {
        tail -n 5 "$work/apt/log" >&2
        die "apt-get could not download the engine of Debian's $suite (above are its last words)." "See $work/apt/log; then try again."
    }
    for package in "$work"/apt/*.deb; do dpkg -x "$package" "$work/root"; done
    rm -rf --one-file-system "$folder"
    mv "$work/root" "$folder"
    rm -rf --one-file-system "$work"
}
