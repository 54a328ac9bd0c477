#!/usr/bin/env bash
# Installs these skills where coding agents look for them: .claude/skills, .codex/skills and .gemini/skills of a repository.
#
# It can be run again: what is there and equal is left alone, what is there and older is replaced. A skill of the same name
# that did not come from here is never replaced unless --force says so. Which came from here is in the file .agent-coordinator
# beside them.
set -euo pipefail

readonly MANIFEST=.agent-coordinator

usage() {
    cat <<'USAGE'
Usage: skills/install.sh [OPTIONS]

  --mode rsync|copy|symlink  how (default: copy); rsync is copy where there is no rsync
  --agents LIST              of claude, codex and gemini, separated by commas (default: all)
  --target DIR               the repository to install into (default: the one you are in)
  --deps none                the skills need no packages, so there is nothing else to say
  --python-tools none        nor any Python tools
  --force                    replace skills of the same names that did not come from here
  --dry-run                  say what would be done, and do nothing
  -h, --help                 this

Exit codes: 0 done; 1 a skill that did not come from here was left as it is; 2 the command line is wrong.
USAGE
}

wrong() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}

mode=copy
agents=claude,codex,gemini
target=
force=no
dry_run=no

while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
        --*=*)
            set -- "${option#*=}" "$@"
            option=${option%%=*}
            ;;
    esac
    case $option in
        --mode | --agents | --target | --deps | --python-tools)
            [ $# -gt 0 ] && [ -n "$1" ] || wrong "$option needs a value"
            value=$1
            shift
            ;;
    esac
    case $option in
        --mode) mode=$value ;;
        --agents) agents=$value ;;
        --target) target=$value ;;
        --deps | --python-tools) [ "$value" = none ] || wrong "$option is $value: the skills need none" ;;
        --force) force=yes ;;
        --dry-run) dry_run=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) wrong "there is no option $option; --help lists them" ;;
    esac
done

case $mode in
    rsync | copy | symlink) ;;
    *) wrong "--mode is $mode: must be rsync, copy or symlink" ;;
esac
if [ "$mode" = rsync ] && ! command -v rsync >/dev/null; then
    printf 'There is no rsync here: copying instead.\n'
    mode=copy
fi

source_dir=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
if [ -z "$target" ]; then
    target=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
fi
[ -d "$target" ] || wrong "--target is $target: there is no such directory"
target=$(cd -P -- "$target" && pwd -P)

IFS=, read -r -a wanted <<<"$agents"
for agent in "${wanted[@]}"; do
    case $agent in
        claude | codex | gemini) ;;
        *) wrong "--agents names ${agent:-nobody}: must be of claude, codex, gemini" ;;
    esac
done

# The directory without any link on the way to it; nothing where there is none.
real() {
    (cd -P -- "$1" 2>/dev/null && pwd -P) || true
}

# Where a link two directories below the target must point.
link_to() {
    case $1 in
        "$target"/*) printf '../../%s' "${1#"$target"/}" ;;
        *) printf '%s' "$1" ;;
    esac
}

# Is it there already, as this mode would make it?
is_current() {
    local from=$1 to=$2
    if [ "$mode" = symlink ]; then
        [ -L "$to" ] && [ "$(readlink -- "$to")" = "$(link_to "$from")" ]
    else
        [ ! -L "$to" ] && [ -d "$to" ] && diff -r -- "$from" "$to" >/dev/null 2>&1
    fi
}

# Did it come from here?
is_ours() {
    local from=$1 to=$2 name
    name=$(basename -- "$to")
    [ "$(real "$to")" = "$from" ] && return
    grep -qxF -- "$name" "$(dirname -- "$to")/$MANIFEST" 2>/dev/null && return
    [ -d "$to" ] && diff -r -- "$from" "$to" >/dev/null 2>&1
}

# Makes a copy beside it first, so that an interruption leaves the old one or the new one.
put() {
    local from=$1 to=$2 fresh
    fresh=$(dirname -- "$to")/.$(basename -- "$to").new
    rm -rf -- "$fresh"
    case $mode in
        symlink) ln -s -- "$(link_to "$from")" "$fresh" ;;
        copy) cp -RL -- "$from" "$fresh" ;;
        rsync)
            if [ -d "$to" ] && [ ! -L "$to" ]; then
                rsync -a --copy-links --delete -- "$from/" "$to/"
                return
            fi
            rsync -a --copy-links -- "$from/" "$fresh/"
            ;;
    esac
    # Of a link only the link goes.
    if [ -L "$to" ]; then rm -f -- "$to"; else rm -rf -- "$to"; fi
    mv -- "$fresh" "$to"
}

left=0
for agent in "${wanted[@]}"; do
    folder=$target/.$agent/skills
    came_from_here=
    for skill in "$source_dir"/*/SKILL.md; do
        from=$(dirname -- "$skill")
        name=$(basename -- "$from")
        to=$folder/$name
        shown=.$agent/skills/$name
        if [ "$(real "$folder")" = "$source_dir" ]; then
            printf 'unchanged  %s (it is the source itself)\n' "$shown"
            continue
        fi
        if is_current "$from" "$to"; then
            printf 'unchanged  %s\n' "$shown"
        elif { [ -e "$to" ] || [ -L "$to" ]; } && [ "$force" = no ] && ! is_ours "$from" "$to"; then
            printf 'left       %s: another skill of this name is there; --force replaces it\n' "$shown" >&2
            left=1
            continue
        elif [ "$dry_run" = yes ]; then
            printf 'would put  %s\n' "$shown"
        else
            mkdir -p -- "$folder"
            put "$from" "$to"
            printf 'put        %s\n' "$shown"
        fi
        came_from_here+=$name$'\n'
    done
    if [ "$dry_run" = no ] && [ -n "$came_from_here" ]; then
        if [ "$(cat -- "$folder/$MANIFEST" 2>/dev/null)" != "${came_from_here%$'\n'}" ]; then
            printf '%s' "$came_from_here" >"$folder/$MANIFEST"
        fi
    fi
done
exit "$left"
