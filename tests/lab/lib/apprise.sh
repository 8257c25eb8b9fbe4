# shellcheck shell=bash
# Apprise as it really is, for the tests of notifications: the library from PyPI, in a virtual environment of its own
# in the cache.

APPRISE_VERSION=2.3.0

# lab apprise [KEY=URL...]: a server that passes on to these URLs what is posted to /notify/KEY. Without any, it is only
# made sure that Apprise is there.
lab_apprise() {
    local folder=$LAB_CACHE/apprise/$APPRISE_VERSION
    need_root
    claim_folder "$LAB_CACHE"
    mkdir -p "$LAB_CACHE/apprise"
    (
        flock 8 # installed once, by whoever comes first
        [[ -e $folder/complete && -x $folder/bin/python ]] || apprise_install "$folder"
    ) 8<"$LAB_CACHE/apprise"
    [[ $# -eq 0 ]] || exec "$folder/bin/python" "$LAB_HOME/lib/apprise_api.py" "$@"
}

apprise_install() {
    local python log=$LAB_CACHE/apprise/install.log
    python=$(apprise_python) || die "There is no Python that makes virtual environments." \
        "Run '$LAB_SELF install', or install Debian's package python3-venv."
    say "installing Apprise $APPRISE_VERSION from PyPI"
    rm -rf --one-file-system "$1"
    {
        "$python" -m venv "$1" &&
            "$1/bin/python" -m pip install --disable-pip-version-check "apprise==$APPRISE_VERSION"
    } >"$log" 2>&1 </dev/null || {
        tail -n 5 "$log" >&2
        die "pip could not install Apprise (above are its last words)." "See $log; then try again."
    }
    touch "$1/complete"
}

# A Python with all that a virtual environment needs. Debian's lacks a part of that without its package python3-venv.
apprise_python() {
    local python
    for python in /usr/bin/python3 "$(type -P python3 || true)"; do
        [[ -x $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null && echo "$python" && return
    done
    return 1
}
