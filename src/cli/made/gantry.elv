
use builtin;
use str;

set edit:completion:arg-completer[gantry] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'gantry'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'gantry'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand status 'Show how things stand, in one screen'
            cand watch 'Show rollouts and failures as they come'
            cand plan 'Show what a run would do now; it changes nothing'
            cand explain 'Show why a service is updated or not'
            cand run 'Start a run'
            cand history 'List the runs with news, or show one of them'
            cand quarantine 'List the images that are not offered again, and why'
            cand release 'Offer an image again'
            cand pause 'Let no update begin for some time'
            cand resume 'Let updates begin again'
            cand approve 'Let an image be rolled out that waits for your word'
            cand revoke 'Take an approval back that was not used yet'
            cand notify 'Send a test message to all addresses of notifications'
            cand healthcheck 'Tell a live daemon from a dead one'
            cand completions 'Print completions for a shell'
            cand man 'Print the manual page'
            cand help 'Show all commands, variables and labels, or one command''s help'
            cand version 'Show the version'
        }
        &'gantry;status'= {
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;watch'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;plan'= {
            cand --image 'Only services with this image and tag, such as shop:2 (repeatable)'
            cand --service 'Only this service (repeatable)'
            cand --filter 'Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;explain'= {
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;run'= {
            cand --image 'Only services with this image and tag, such as shop:2 (repeatable)'
            cand --service 'Only this service (repeatable)'
            cand --filter 'Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)'
            cand --now 'Update (only SERVICE) now, whatever windows and minimum ages say; pauses and freezes still count'
            cand --wait 'Wait for the end of the run (at most SECONDS), and show progress'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;history'= {
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;quarantine'= {
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;release'= {
            cand --all 'Everything'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;pause'= {
            cand --for 'For how long, such as 30m or 2h; 24 hours without it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;resume'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;approve'= {
            cand --by 'Who approves, where no token says so'
            cand --why 'Why, for other users to read'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;revoke'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;notify'= {
            cand --test 'Send it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;healthcheck'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;completions'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;man'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;help'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'gantry;version'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
    ]
    $completions[$command]
}
