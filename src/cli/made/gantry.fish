# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_gantry_global_optspecs
    string join \n h/help V/version
end

function __fish_gantry_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_gantry_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_gantry_using_subcommand
    set -l cmd (__fish_gantry_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c gantry -n "__fish_gantry_needs_command" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_needs_command" -s V -l version -d 'Print version'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "status" -d 'Show how things stand, in one screen'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "watch" -d 'Show rollouts and failures as they come'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "plan" -d 'Show what a run would do now; it changes nothing'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "explain" -d 'Show why a service is updated or not'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "run" -d 'Start a run'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "history" -d 'List the runs with news, or show one of them'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "quarantine" -d 'List the images that are not offered again, and why'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "release" -d 'Offer an image again'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "pause" -d 'Let no update begin for some time'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "resume" -d 'Let updates begin again'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "approve" -d 'Let an image be rolled out that waits for your word'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "revoke" -d 'Take an approval back that was not used yet'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "notify" -d 'Send a test message to all addresses of notifications'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "healthcheck" -d 'Tell a live daemon from a dead one'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "man" -d 'Print the manual page'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "help" -d 'Show all commands, variables and labels, or one command\'s help'
complete -c gantry -n "__fish_gantry_needs_command" -f -a "version" -d 'Show the version'
complete -c gantry -n "__fish_gantry_using_subcommand status" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand status" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand watch" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand plan" -l image -d 'Only services with this image and tag, such as shop:2 (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand plan" -l service -d 'Only this service (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand plan" -l filter -d 'Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand plan" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand plan" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand explain" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand explain" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand run" -l image -d 'Only services with this image and tag, such as shop:2 (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand run" -l service -d 'Only this service (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand run" -l filter -d 'Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)' -r
complete -c gantry -n "__fish_gantry_using_subcommand run" -l now -d 'Update (only SERVICE) now, whatever windows and minimum ages say; pauses and freezes still count' -r
complete -c gantry -n "__fish_gantry_using_subcommand run" -l wait -d 'Wait for the end of the run (at most SECONDS), and show progress' -r
complete -c gantry -n "__fish_gantry_using_subcommand run" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand run" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand history" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand history" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand quarantine" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gantry -n "__fish_gantry_using_subcommand quarantine" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand release" -l all -d 'Everything'
complete -c gantry -n "__fish_gantry_using_subcommand release" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand pause" -l for -d 'For how long, such as 30m or 2h; 24 hours without it' -r
complete -c gantry -n "__fish_gantry_using_subcommand pause" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand resume" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand approve" -l by -d 'Who approves, where no token says so' -r
complete -c gantry -n "__fish_gantry_using_subcommand approve" -l why -d 'Why, for other users to read' -r
complete -c gantry -n "__fish_gantry_using_subcommand approve" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand notify" -l test -d 'Send it'
complete -c gantry -n "__fish_gantry_using_subcommand notify" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand completions" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand man" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand help" -s h -l help -d 'Print help'
complete -c gantry -n "__fish_gantry_using_subcommand version" -s h -l help -d 'Print help'
