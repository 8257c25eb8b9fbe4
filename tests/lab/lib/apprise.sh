# shellcheck shell=bash
# Apprise as it really is, for the tests of notifications: the library from PyPI, in a virtual environment of its own
# in the cache.

APPRISE_VERSION=2.3.0

# lab apprise [KEY=URL...]: a server that passes on to these URLs what is posted to /notify/KEY. Without any, it is only
# made sure that Apprise is there.
lab_apprise() {
    local folder=$LAB_CACHE/apprise/$APPRISE_VERSION
    pip_environment apprise "$APPRISE_VERSION"
    [[ $# -eq 0 ]] || exec "$folder/bin/python" "$LAB_HOME/lib/apprise_api.py" "$@"
}
