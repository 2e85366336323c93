#!/bin/sh
# Licences, sources, advisories and walls between crates, by cargo-deny and deny.toml.
#
#   deny.sh install         puts the pinned cargo-deny below target/, if there is none
#   deny.sh check           fails if something is denied
#   deny.sh check-if-there  the same, or a line that says that nothing was checked
set -eu

version=0.20.2
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
PATH=$PATH:$tools/bin

there() { cargo deny --version >/dev/null 2>&1; }

check() {
    cargo deny --log-level error check bans licenses sources
    # The database lies elsewhere. Where it cannot be reached nothing is known of
    # advisories; that is said, and is no failure of the code.
    if timeout 120 cargo deny --log-level error fetch db >/dev/null 2>&1; then
        cargo deny --log-level error check --disable-fetch advisories
    else
        echo "deny: advisories were NOT checked: their database cannot be reached"
    fi
}

case "${1:-}" in
install)
    # Its own build directory: features of shared crates differ from ours.
    there || CARGO_TARGET_DIR=$tools/build cargo install --locked --quiet --version "$version" --root "$tools" cargo-deny
    ;;
check) check ;;
check-if-there)
    if there; then
        check
    else
        echo "deny: NOT checked, cargo-deny is not installed: \`make deny\` installs it (some minutes)"
    fi
    ;;
*)
    echo "usage: deny.sh install|check|check-if-there" >&2
    exit 2
    ;;
esac
