#compdef gantry

autoload -U is-at-least

_gantry() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_gantry_commands" \
"*::: :->gantry" \
&& ret=0
    case $state in
    (gantry)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:gantry-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(plan)
_arguments "${_arguments_options[@]}" : \
'*--image=[Only services with this image and tag, such as shop\:2 (repeatable)]:IMAGE:_default' \
'*--service=[Only this service (repeatable)]:SERVICE:_default' \
'*--filter=[Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)]:FILTER:_default' \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
':service -- The name of the service:_default' \
&& ret=0
;;
(run)
_arguments "${_arguments_options[@]}" : \
'*--image=[Only services with this image and tag, such as shop\:2 (repeatable)]:IMAGE:_default' \
'*--service=[Only this service (repeatable)]:SERVICE:_default' \
'*--filter=[Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)]:FILTER:_default' \
'--now=[Update (only SERVICE) now, whatever windows and minimum ages say; pauses and freezes still count]::SERVICE:_default' \
'--wait=[Wait for the end of the run (at most SECONDS), and show progress]::SECONDS:_default' \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(history)
_arguments "${_arguments_options[@]}" : \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
'::id -- The number of the run:_default' \
&& ret=0
;;
(quarantine)
_arguments "${_arguments_options[@]}" : \
'--json[Print the daemon'\''s answer as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(release)
_arguments "${_arguments_options[@]}" : \
'()--all[Everything]' \
'-h[Print help]' \
'--help[Print help]' \
'::name -- One service, or one image with its tag:_default' \
&& ret=0
;;
(pause)
_arguments "${_arguments_options[@]}" : \
'--for=[For how long, such as 30m or 2h; 24 hours without it]:TIME:_default' \
'-h[Print help]' \
'--help[Print help]' \
'*::why -- Why, for other users to read:_default' \
&& ret=0
;;
(resume)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(approve)
_arguments "${_arguments_options[@]}" : \
'--by=[Who approves, where no token says so]:NAME:_default' \
'--why=[Why, for other users to read]:TEXT:_default' \
'-h[Print help]' \
'--help[Print help]' \
':name -- One image with its tag, or one service:_default' \
'::digest -- The digest, or its first 12 digits or more; without it, list what waits:_default' \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
':name -- One image with its tag, or one service:_default' \
&& ret=0
;;
(notify)
_arguments "${_arguments_options[@]}" : \
'--test[Send it]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(healthcheck)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
'*::command -- The command:_default' \
&& ret=0
;;
(version)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_gantry_commands] )) ||
_gantry_commands() {
    local commands; commands=(
'status:Show how things stand, in one screen' \
'watch:Show rollouts and failures as they come' \
'plan:Show what a run would do now; it changes nothing' \
'explain:Show why a service is updated or not' \
'run:Start a run' \
'history:List the runs with news, or show one of them' \
'quarantine:List the images that are not offered again, and why' \
'release:Offer an image again' \
'pause:Let no update begin for some time' \
'resume:Let updates begin again' \
'approve:Let an image be rolled out that waits for your word' \
'revoke:Take an approval back that was not used yet' \
'notify:Send a test message to all addresses of notifications' \
'healthcheck:Tell a live daemon from a dead one' \
'completions:Print completions for a shell' \
'man:Print the manual page' \
'help:Show all commands, variables and labels, or one command'\''s help' \
'version:Show the version' \
    )
    _describe -t commands 'gantry commands' commands "$@"
}
(( $+functions[_gantry__subcmd__approve_commands] )) ||
_gantry__subcmd__approve_commands() {
    local commands; commands=()
    _describe -t commands 'gantry approve commands' commands "$@"
}
(( $+functions[_gantry__subcmd__completions_commands] )) ||
_gantry__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'gantry completions commands' commands "$@"
}
(( $+functions[_gantry__subcmd__explain_commands] )) ||
_gantry__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 'gantry explain commands' commands "$@"
}
(( $+functions[_gantry__subcmd__healthcheck_commands] )) ||
_gantry__subcmd__healthcheck_commands() {
    local commands; commands=()
    _describe -t commands 'gantry healthcheck commands' commands "$@"
}
(( $+functions[_gantry__subcmd__help_commands] )) ||
_gantry__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'gantry help commands' commands "$@"
}
(( $+functions[_gantry__subcmd__history_commands] )) ||
_gantry__subcmd__history_commands() {
    local commands; commands=()
    _describe -t commands 'gantry history commands' commands "$@"
}
(( $+functions[_gantry__subcmd__man_commands] )) ||
_gantry__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'gantry man commands' commands "$@"
}
(( $+functions[_gantry__subcmd__notify_commands] )) ||
_gantry__subcmd__notify_commands() {
    local commands; commands=()
    _describe -t commands 'gantry notify commands' commands "$@"
}
(( $+functions[_gantry__subcmd__pause_commands] )) ||
_gantry__subcmd__pause_commands() {
    local commands; commands=()
    _describe -t commands 'gantry pause commands' commands "$@"
}
(( $+functions[_gantry__subcmd__plan_commands] )) ||
_gantry__subcmd__plan_commands() {
    local commands; commands=()
    _describe -t commands 'gantry plan commands' commands "$@"
}
(( $+functions[_gantry__subcmd__quarantine_commands] )) ||
_gantry__subcmd__quarantine_commands() {
    local commands; commands=()
    _describe -t commands 'gantry quarantine commands' commands "$@"
}
(( $+functions[_gantry__subcmd__release_commands] )) ||
_gantry__subcmd__release_commands() {
    local commands; commands=()
    _describe -t commands 'gantry release commands' commands "$@"
}
(( $+functions[_gantry__subcmd__resume_commands] )) ||
_gantry__subcmd__resume_commands() {
    local commands; commands=()
    _describe -t commands 'gantry resume commands' commands "$@"
}
(( $+functions[_gantry__subcmd__revoke_commands] )) ||
_gantry__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'gantry revoke commands' commands "$@"
}
(( $+functions[_gantry__subcmd__run_commands] )) ||
_gantry__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'gantry run commands' commands "$@"
}
(( $+functions[_gantry__subcmd__status_commands] )) ||
_gantry__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'gantry status commands' commands "$@"
}
(( $+functions[_gantry__subcmd__version_commands] )) ||
_gantry__subcmd__version_commands() {
    local commands; commands=()
    _describe -t commands 'gantry version commands' commands "$@"
}
(( $+functions[_gantry__subcmd__watch_commands] )) ||
_gantry__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'gantry watch commands' commands "$@"
}

if [ "$funcstack[1]" = "_gantry" ]; then
    _gantry "$@"
else
    compdef _gantry gantry
fi
