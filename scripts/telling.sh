# shellcheck shell=bash
# How a demo tells its story. Not run but sourced, from the top of the checkout:
#
#   chapter WORDS…    a heading
#   tell WORDS…       a line
#   show COMMAND…     a command, as one would type it, and what it prints

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
    bold='' dim='' plain=''
fi

chapter() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

tell() { printf '%s\n' "$*"; }

# Shows a command, as one would type it, then runs it.
show() {
    local word typed=
    for word in "$@"; do
        case $word in
        *[\ \*\;]*) typed+=" \"$word\"" ;;
        *) typed+=" $word" ;;
        esac
    done
    printf '\n%s$%s%s\n' "$dim" "$typed" "$plain"
    "$@"
}
