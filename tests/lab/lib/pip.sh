# shellcheck shell=bash
# Packages from PyPI, each in a virtual environment of its own in the cache.

# pip_environment PACKAGE VERSION: makes sure that the folder PACKAGE/VERSION in the cache has it.
pip_environment() {
    local folder=$LAB_CACHE/$1/$2
    need_root
    claim_folder "$LAB_CACHE"
    mkdir -p "$LAB_CACHE/$1"
    (
        flock 8 # installed once, by the process that comes first
        [[ -e $folder/complete && -x $folder/bin/python ]] || pip_install "$1" "$2" "$folder"
    ) 8<"$LAB_CACHE/$1"
}

pip_install() {
    local python log=$LAB_CACHE/$1/install.log
    python=$(pip_python) || die "There is no Python that makes virtual environments." \
        "Run '$LAB_SELF install', or install Debian's package python3-venv."
    say "installing $1 $2 from PyPI"
    rm -rf --one-file-system "$3"
    {
        "$python" -m venv "$3" &&
            "$3/bin/python" -m pip install --disable-pip-version-check "$1==$2"
    } >"$log" 2>&1 </dev/null || {
        tail -n 5 "$log" >&2
        die "pip could not install $1 (above are its last words)." "See $log; then try again."
    }
    touch "$3/complete"
}

# A Python with all that a virtual environment needs. Debian's lacks a part of that without its package python3-venv.
pip_python() {
    local python
    for python in /usr/bin/python3 "$(type -P python3 || true)"; do
        [[ -x $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null && echo "$python" && return
    done
    return 1
}
