//! The `gantry` binary: start-up order, role and exit code.

#![expect(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gantry::cli::{self, Command, DaemonAddress, Done, Narrowed, Trouble};
use gantry::config::{self, Config, Filter, Loaded, Mistakes};
use gantry::context::RunScope;
use gantry::cycle::cleanup::remover_name;
use gantry::cycle::preview::{Preview, preview};
use gantry::cycle::{by_hand, remover};
use gantry::daemon::board::{Board, LiveBoard, render};
use gantry::daemon::steering::Wheel;
use gantry::daemon::{Daemon, End, health, http, itself, notification, stop_overdue};
use gantry::descriptors;
use gantry::heartbeat::Heartbeat;
use gantry::ledger::Ledger;
use gantry::ledger::release::ReleaseTarget;
use gantry::local_socket;
use gantry::meters::Meters;
use gantry::model::event::Event;
use gantry::registry::{HttpRegistry, Settings};
use gantry::swarm::engine::Engine;
use gantry::telemetry::{self, EndOfLog, NodeName, Output};
use gantry::tls::install_crypto_provider;
use gantry::words::printable;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The exit code for mistakes in the configuration, as for wrong usage of most commands.
const MISTAKES: u8 = 2;

/// The exit code of a single cycle without a failure that leaves something behind which should have been updated.
const INCOMPLETE: u8 = 3;

/// How long a stop may take. Docker kills after ten seconds by default.
const STOP_LIMIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let _end_of_log = EndOfLog;
    let answer = |text: &str| {
        Output::stdout().line(text);
        ExitCode::SUCCESS
    };
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Daemon) => daemon_or_remover(),
        Ok(Command::Help) => answer(&config::help()),
        Ok(Command::HelpOf(help)) => answer(&help),
        Ok(Command::Version) => answer(&config::version()),
        Ok(Command::Man) => answer(cli::manual().trim_end()),
        Ok(Command::Completions(shell)) => answer(cli::completions(&shell).unwrap_or_default().trim_end()),
        Ok(Command::Healthcheck) => {
            let (said, code) = match health::check() {
                Ok(healthy) => (healthy, ExitCode::SUCCESS),
                Err(unhealthy) => (unhealthy, ExitCode::FAILURE),
            };
            Output::stdout().line(&printable(&said));
            code
        }
        Ok(Command::Notify) => notify(),
        Ok(command) => ask(&command),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(MISTAKES)
        }
    }
}

/// Asks a daemon. Where none answers, what can be done without one is done so.
fn ask(command: &Command) -> ExitCode {
    let target = DaemonAddress::find(|name| std::env::var(name).ok());
    let done = target.and_then(|target| {
        let runtime = runtime().map_err(|error| Trouble::of_start(&error))?;
        let done = runtime.block_on(cli::ask(command, &target, TimeZone::system()));
        done.map_err(|trouble| trouble.at(&target))
    });
    let done = match (command, done) {
        (Command::Quarantine { json: false }, Err(trouble)) if trouble.is_absence => return by_hand(None),
        (Command::Release(name), Err(trouble)) if trouble.is_absence => {
            return by_hand(Some(name.clone().map_or(ReleaseTarget::All, ReleaseTarget::Named)));
        }
        (Command::Plan { scope, .. }, Err(trouble)) if trouble.is_absence => return plan(command, scope),
        (Command::Explain { service, .. }, Err(trouble)) if trouble.is_absence => {
            return plan(command, &Narrowed { services: vec![service.clone()], ..Narrowed::default() });
        }
        (_, done) => done,
    };
    conclude(done)
}

/// Says what a command has come to.
fn conclude(done: Result<Done, Trouble>) -> ExitCode {
    match done {
        Ok(done) => {
            if !done.text.is_empty() {
                Output::stdout().line(&done.text);
            }
            ExitCode::from(done.code)
        }
        Err(trouble) => {
            complain(&trouble.words);
            ExitCode::from(trouble.code)
        }
    }
}

/// Says what a run of this scope would do, without a daemon.
fn plan(command: &Command, scope: &Narrowed) -> ExitCode {
    let wrong: Vec<&str> =
        scope.filters.iter().map(String::as_str).filter(|filter| Filter::parse(filter).is_none()).collect();
    if !wrong.is_empty() {
        complain(&printable(&format!("{} is not of the form key=value", wrong.join(", "))));
        return ExitCode::from(MISTAKES);
    }
    let filters = scope.filters.iter().filter_map(|filter| Filter::parse(filter)).collect();
    let scope = RunScope {
        services: scope.services.clone(),
        images: scope.images.clone(),
        filters,
        ..RunScope::default()
    };
    with_engine(async |config, engine| {
        let looked = Box::pin(preview(&config, &engine, &Arc::new(registry(&config)), scope)).await?;
        let answer = match command {
            Command::Explain { service, .. } => explained(service, looked),
            _ => render::plan(&looked.rows),
        };
        Ok(conclude(cli::without_daemon(command, &answer, &TimeZone::system())))
    })
}

/// Says why a command did not do what it was asked, where no answer is expected.
fn complain(why: &str) {
    Output::stderr().line(&format!("gantry: {why}"));
}

/// A service as the API explains it; null: it is not known.
fn explained(service: &str, looked: Preview) -> Value {
    let now = Timestamp::now();
    let mut board = Board::new(now);
    board.apply(0, &Event::Decided(looked.rows), now);
    let around = render::Around { pause: looked.pause, ..render::Around::default() };
    board.explained(service, &around).unwrap_or_default()
}

/// Lists what is not offered, or releases some of it: 0 when there was something to release, else 1.
fn by_hand(target: Option<ReleaseTarget>) -> ExitCode {
    let say = |text: &str| Output::stdout().line(text);
    with_engine(async |config, engine| {
        let is_done = match target {
            None => {
                say(&by_hand::listed(&config, &engine).await?.to_string());
                true
            }
            Some(target) => {
                let release = by_hand::release(&config, &engine, &target).await?;
                say(&release.to_string());
                release.miss.is_none()
            }
        };
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Does what needs the engine and no daemon.
fn with_engine(work: impl AsyncFnOnce(Arc<Config>, Arc<Engine>) -> Result<ExitCode>) -> ExitCode {
    let config = match Config::load(std::env::vars_os()) {
        Ok(loaded) => Arc::new(loaded.config),
        Err(mistakes) => {
            telemetry::log_mistakes(&mistakes, Output::stderr());
            return ExitCode::from(MISTAKES);
        }
    };
    install_crypto_provider();
    let engine = Arc::new(Engine::new(config.engine.clone()));
    let done = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        let done = runtime.block_on(work(config.clone(), engine));
        // Names that are being resolved are not waited for.
        runtime.shutdown_background();
        done
    });
    done.unwrap_or_else(|error| {
        complain(&printable(&format!("{error:#} (DOCKER_HOST: {})", config.engine)));
        ExitCode::FAILURE
    })
}

/// Sends a test message to all addresses of notifications: 0 when all took it, 1 when one did not, 2 without any.
fn notify() -> ExitCode {
    let config = match notification::checked(Config::load(std::env::vars_os())) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => {
            telemetry::log_mistakes(&mistakes, Output::stderr());
            return ExitCode::from(MISTAKES);
        }
    };
    install_crypto_provider();
    match runtime().map(|runtime| runtime.block_on(notification::trial::run(&config))) {
        Ok(Some(trial)) => {
            trial.lines.iter().for_each(|line| Output::stdout().line(&printable(line)));
            if trial.is_taken { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(None) => {
            complain(
                "there is no address to notify; set GANTRY_NOTIFICATION_URL or GANTRY_NOTIFICATION_APPRISE_URL",
            );
            ExitCode::from(MISTAKES)
        }
        Err(error) => {
            complain(&printable(&format!("cannot start: {error}")));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Reads the configuration and does what it says.
fn daemon_or_remover() -> ExitCode {
    let Loaded { config, warnings } = match notification::checked(Config::load(std::env::vars_os())) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            telemetry::init(&mistakes.log);
            telemetry::tell_mistakes(&mistakes);
            if let Ok(runtime) = runtime() {
                runtime.block_on(tell_of_mistakes(&mistakes));
                runtime.shutdown_background();
            }
            return ExitCode::from(MISTAKES);
        }
    };
    let node_name = telemetry::init(&config.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    install_crypto_provider();
    if let Err(error) = descriptors::raise_limit() {
        tracing::error!("{error}");
        return ExitCode::FAILURE;
    }
    let done = runtime().context("cannot start").and_then(|runtime| {
        let done = runtime.block_on(run(config, &node_name));
        // Names that are being resolved, or folders that are being looked through, are not waited for.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Notifies of mistakes in the configuration, unless the service is started again and again for them.
async fn tell_of_mistakes(mistakes: &Mistakes) {
    /// How long the engine may take to tell of the tasks before this one.
    const PATIENCE: Duration = Duration::from_secs(3);
    if let Some(address) = mistakes.engine.as_deref().filter(|_| !mistakes.notification.is_off()) {
        install_crypto_provider();
        let (engine, ids) = (Engine::new(address.clone()), itself::container_ids());
        let is_repeated = itself::has_ended_so(&engine, &ids, MISTAKES.into());
        if tokio::time::timeout(PATIENCE, is_repeated).await.unwrap_or(false) {
            tracing::warn!(
                "no notification is sent: the tasks before this one have ended with the same exit code"
            );
            return;
        }
    }
    notification::tell_of_mistakes(mistakes).await;
}

/// The registries, as this process is configured to ask them.
fn registry(config: &Config) -> HttpRegistry {
    let settings = Settings { proxies: config.proxies.clone(), ..Settings::default() };
    HttpRegistry::new(settings).trusting(config.lookups.trusted_hosts.clone())
}

/// What page and API work with.
fn shared(daemon: &Daemon<Engine, HttpRegistry>) -> http::Shared {
    let wheel = Wheel {
        config: daemon.config.clone(),
        swarm: daemon.swarm.clone(),
        registry: daemon.registry.clone(),
        ledger: daemon.ledger.clone(),
        requests: daemon.requests.clone(),
        board: daemon.board.clone(),
    };
    let meters = Meters {
        engine: daemon.swarm.meter().clone(),
        registries: daemon.registry.meter().clone(),
        ..Meters::default()
    };
    http::Shared {
        meters,
        board: daemon.board.clone(),
        config: daemon.config.clone(),
        ledger: daemon.ledger.clone(),
        heartbeat: daemon.heartbeat.clone(),
        steering: Arc::new(wheel),
    }
}

/// Runs in the role that the configuration gives, until that is done or a signal comes.
async fn run(config: Config, node_name: &NodeName) -> Result<ExitCode> {
    let heartbeat = Heartbeat::new(Instant::now());
    let engine = Engine::beating(config.engine.clone(), heartbeat.clone());
    let (stop, at_once) = stop_on_signals()?;
    if !config.images_to_remove.is_empty() {
        return Ok(remove_images(&engine, &config, &stop).await);
    }

    let daemon = Daemon {
        registry: Arc::new(registry(&config)),
        ledger: Arc::new(Ledger::new(&config.ledger_name)),
        config: Arc::new(config),
        environment: std::env::vars_os().collect(),
        swarm: Arc::new(engine),
        stop: stop.clone(),
        heartbeat,
        board: LiveBoard::default(),
        requests: Arc::default(),
    };
    if let Some(listener) = daemon.config.listener.clone() {
        tokio::spawn(http::serve(listener, shared(&daemon), |_| ()));
    }
    tokio::spawn(http::serve_socket(local_socket::places(), shared(&daemon)));
    let end = tokio::select! {
        end = daemon.run(|name| node_name.set(name)) => end,
        () = stop_overdue(&stop, STOP_LIMIT) => {
            tracing::warn!("stopped without waiting for what is under way");
            if daemon.config.starts_again() {
                End::Good
            } else {
                End::Failed
            }
        }
        () = at_once.cancelled() => {
            tracing::warn!("stopped at once by a second signal");
            End::Failed
        }
    };
    Ok(match end {
        End::Good => ExitCode::SUCCESS,
        End::Incomplete => ExitCode::from(INCOMPLETE),
        End::Failed => ExitCode::FAILURE,
    })
}

/// The first is cancelled by the first SIGTERM or SIGINT, the second by the second one.
fn stop_on_signals() -> Result<(CancellationToken, CancellationToken)> {
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let (first, second) = (stop.clone(), at_once.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first.is_cancelled() {
                second.cancel();
                continue;
            }
            tracing::info!("told to stop; no new updates begin, the swarm goes on with those under way");
            first.cancel();
        }
    });
    Ok((stop, at_once))
}

/// The role of the image remover on one node: removes, says so, and stays until it is removed itself,
/// because only then does the swarm remove its container as well. Fails where an image could not be removed.
async fn remove_images(engine: &Engine, config: &Config, stop: &CancellationToken) -> ExitCode {
    /// How long a remover stays whose manager has forgotten it.
    const FORGOTTEN: Duration = Duration::from_secs(600);
    let own_name = remover_name(&config.ledger_name);
    let removal = tokio::select! {
        removal = remover::remove(engine, &config.images_to_remove, &own_name) => removal,
        // What was not removed is not told of either.
        () = stop.cancelled() => return ExitCode::FAILURE,
    };
    // The answer to the manager is not a log line: it has to come through whatever the log's level is. A reader that does
    // not take it must not keep this process from hearing that it is to stop.
    let answer = removal.to_line();
    tokio::task::spawn_blocking(move || Output::stdout().line(&answer));
    let _ = tokio::time::timeout(FORGOTTEN, stop.cancelled()).await;
    if removal.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
