# shellcheck shell=bash disable=SC2154 # folder and pairs are set by who sources it
# The results of a bench: rounds that take turns, a line each, and what is made of the lines. Sourced after server.sh and
# load.sh.
#
#   result PART WHAT NUMBER…      writes a line down, and shows it
#   turns FUNCTION WHAT…          has all of these take turns at the function, `pairs` times
#   column PART WHAT N            the Nth column of its lines; the first number is the third
#   ratios PART WHAT OTHER N [M]  how many times column M of OTHER, or N, that of WHAT is, round by round
#   goal WORDS [LEAST] [MOST]     `WORDS: met`, by the median of the numbers on standard input

result() { printf '%s\n' "$*" | tee -a "$folder/results" | sed 's/^/bench:   /' >&2; }

turns() {
    local pair how function=$1 order
    shift
    order=("$@")
    for ((pair = 0; pair < pairs; pair++)); do
        for how in "${order[@]}"; do
            "$function" "$how"
        done
        # Whoever is second may find another machine than the first did.
        order=("${order[@]:1}" "${order[0]}")
    done
}

column() { awk -v part="$1" -v how="$2" -v column="$3" '$1 == part && $2 == how { print $column }' "$folder/results"; }

ratios() { paste <(column "$1" "$2" "$4") <(column "$1" "$3" "${5:-$4}") | awk 'NF == 2 && $2 > 0 { print $1 / $2 }'; }

goal() {
    middle '%f' | awk -v words="$1" -v least="${2:-}" -v most="${3:-}" '
        $1 == "–" { printf "%s: not measured", words; next }
        { met = (least == "" || $1 + 0 >= least + 0) && (most == "" || $1 + 0 <= most + 0)
          printf "%s: %s", words, (met ? "met" : "missed") }'
}
