# shellcheck shell=bash
# A mail server as it really is, for the tests of notifications: aiosmtpd from PyPI, in a virtual environment of its own
# in the cache.

AIOSMTPD_VERSION=1.4.6

# lab smtp CERT KEY USER PASSWORD: a mail server with STARTTLS that takes mail of this account only. It prints its address and
# then each mail. Without arguments, it is only made sure that aiosmtpd is there.
lab_smtp() {
    local folder=$LAB_CACHE/aiosmtpd/$AIOSMTPD_VERSION
    pip_environment aiosmtpd "$AIOSMTPD_VERSION"
    [[ $# -eq 0 ]] || exec "$folder/bin/python" "$LAB_HOME/lib/smtp_server.py" "$@"
}
