//! The commands that ask a daemon, against the real program in the lab: in a pipe, and in a terminal.

use std::process::Command;

use serde_json::Value;

use super::support::{Said, Stage, wait};

#[test]
fn commands_show_and_steer_a_daemon_by_its_socket() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &[]);
    let daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").start();
    daemon.wait_for("1 service: 1 up to date", 60);

    let Said { code, text } = stage.say(&["status"]);
    assert!(code == Some(0) && text.starts_with("the service is on the newest image\n"), "{text}");
    assert_eq!(stage.say(&["plan"]).code, Some(0));
    let watched = stage.folder.path().join("watched");
    let watched_file = std::fs::File::create(&watched).unwrap();
    let mut watch = stage.command(&["watch"]).stdout(watched_file).spawn().unwrap();
    let has_watched = |words: &str| std::fs::read_to_string(&watched).unwrap().contains(words).then_some(());
    wait("the first line of watch", 30, || has_watched("the service is on the newest image"));

    let new = stage.image("web", "2", &[]);
    let Said { code, text } = stage.say(&["plan"]);
    assert!(code == Some(3) && text.starts_with("1 update is pending\n"), "{text}");
    let Said { code, text } = stage.say(&["run", "--wait", "--service", &web.name]);
    assert!(code == Some(0) && text.contains("1 service: 1 updated"), "{text}");
    web.runs(&new, 1);
    wait("the run in watch", 30, || has_watched("run 2 is over: 1 service: 1 updated"));

    stage.crashing_image("web", "3");
    let Said { code, text } = stage.say(&["run", "--wait"]);
    assert!(code == Some(1) && text.contains("rolled back") && text.contains(&web.name), "{text}");
    let Said { code, text } = stage.say(&["status", "--json"]);
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &shown["verdict"]["level"]), (Some(1), &"attention".into()), "{shown:#}");
    wait("the failure in watch", 30, || has_watched(&format!("needs attention: {}: ", web.name)));
    watch.kill().unwrap();
    watch.wait().unwrap();

    let Said { code, text } = stage.say(&["history"]);
    assert!(code == Some(0) && text.matches("api, by docker-exec").count() == 2, "{text}");
    let Said { code, text } = stage.say(&["history", "3"]);
    assert!(code == Some(0) && text.contains("rolled back"), "{text}");
    let Said { code, text } = stage.say(&["explain", &web.name]);
    assert!(code == Some(0) && text.starts_with(&web.name), "{text}");
    let Said { code, text } = stage.say(&["pause", "--for", "10m", "a sale"]);
    assert!(code == Some(0) && text.contains("a sale"), "{text}");
    assert_eq!(stage.say(&["resume"]).code, Some(0));
    assert_eq!(stage.say(&["release", &web.name]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
}

/// A terminal of its own, which ends with the test.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a command in a terminal of this size.
    fn start(socket: String, command: &str, columns: &str, rows: &str) -> Self {
        let terminal = Self { socket };
        let fixed = ["new-session", "-d", "-s", "it", "-x", columns, "-y", rows];
        assert!(terminal.tmux(&[&fixed[..], &[command]].concat()).0, "tmux starts");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> (bool, String) {
        let mut tmux = Command::new("tmux");
        let output = tmux.args(["-f", "/dev/null", "-S", &self.socket]).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What stands on the screen.
    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "it"]).1
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn watch_draws_a_bar_in_a_terminal_and_redraws_it_in_place() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let names = ["one", "two"].map(|name| stage.service(name, &old, &[]).name);
    let daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").start();
    daemon.wait_for("2 services: 2 up to date", 60);
    let command = stage.command(&["watch"]);
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}='{}'", name.to_str()?, value?.to_str()?)));
    let variables: Vec<String> = variables.collect();
    let line = format!("env -i {} {} watch", variables.join(" "), env!("CARGO_BIN_EXE_gantry"));
    let socket = stage.folder.path().join("tmux").display().to_string();
    let terminal = Terminal::start(socket, &line, "100", "24");
    let shows = |words: &str| {
        let screen = terminal.screen();
        screen.contains(words).then_some(screen)
    };
    wait("a calm screen", 30, || shows("all 2 services are on the newest image"));
    stage.slow_image("web", "2", 5);
    assert_eq!(stage.say(&["run"]).code, Some(0));
    wait("a bar", 60, || shows("[...................."));
    let screen = wait("a full bar", 120, || shows("[####################]"));
    assert_eq!(screen.matches("Ctrl-C ends this").count(), 1, "it is drawn once: {screen}");
    wait("the run's end above the bars", 60, || shows("run 2 is over: 2 services: 2 updated"));

    stage.crashing_image("web", "3");
    assert_eq!(stage.say(&["run", "--wait"]).code, Some(1));
    let screen = wait("failures above the bars", 60, || shows("needs attention: "));
    assert!(names.iter().any(|name| screen.contains(name.as_str())), "{screen}");
    assert_eq!(screen.matches("Ctrl-C ends this").count(), 1, "{screen}");
    terminal.tmux(&["send-keys", "-t", "it", "C-c"]);
    wait("the end", 30, || (!terminal.tmux(&["has-session", "-t", "it"]).0).then_some(()));
    assert_eq!(daemon.stop().code, Some(0));
}
