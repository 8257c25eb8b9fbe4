//! The `gantry` binary: start-up order, role and exit code.

#![expect(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gantry::config::{self, Command, Config, Loaded, Mistakes};
use gantry::cycle::cleanup::remover_name;
use gantry::cycle::{by_hand, remover};
use gantry::daemon::board::LiveBoard;
use gantry::daemon::steering::Wheel;
use gantry::daemon::{Daemon, End, health, http, itself, notification, stop_overdue};
use gantry::descriptors;
use gantry::heartbeat::Heartbeat;
use gantry::ledger::Ledger;
use gantry::ledger::release::ReleaseTarget;
use gantry::meters::Meters;
use gantry::registry::{HttpRegistry, Settings};
use gantry::swarm::engine::Engine;
use gantry::telemetry::{self, EndOfLog, NodeName, Output};
use gantry::tls::install_crypto_provider;
use gantry::words::printable;
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
    let say = |text: &str| Output::stdout().line(text);
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run) => daemon_or_remover(),
        Ok(Command::Help) => {
            say(&config::help());
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            say(&config::version());
            ExitCode::SUCCESS
        }
        Ok(Command::Healthcheck) => match health::check() {
            Ok(healthy) => {
                say(&printable(&healthy));
                ExitCode::SUCCESS
            }
            Err(unhealthy) => {
                say(&printable(&unhealthy));
                ExitCode::FAILURE
            }
        },
        Ok(Command::Notify) => notify(),
        Ok(Command::Quarantine) => by_hand(None),
        Ok(Command::Release(name)) => by_hand(Some(name.map_or(ReleaseTarget::All, ReleaseTarget::Named))),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(MISTAKES)
        }
    }
}

/// Says why a command did not do what it was asked, where no answer is expected.
fn complain(why: &str) {
    Output::stderr().line(&format!("gantry: {why}"));
}

/// Lists what is not offered, or releases some of it: 0 when there was something to release, else 1.
fn by_hand(target: Option<ReleaseTarget>) -> ExitCode {
    let say = |text: &str| Output::stdout().line(text);
    let config = match Config::load(std::env::vars_os()) {
        Ok(loaded) => Arc::new(loaded.config),
        Err(mistakes) => {
            telemetry::log_mistakes(&mistakes, Output::stderr());
            return ExitCode::from(MISTAKES);
        }
    };
    install_crypto_provider();
    let work = async {
        let engine = Arc::new(Engine::new(config.engine.clone()));
        match target {
            None => {
                say(&by_hand::listed(&config, &engine).await?.to_string());
                Ok(true)
            }
            Some(target) => {
                let release = by_hand::release(&config, &engine, &target).await?;
                say(&release.to_string());
                Ok(release.miss.is_none())
            }
        }
    };
    match runtime().map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&printable(&format!("{error:#} (DOCKER_HOST: {})", config.engine)));
            ExitCode::FAILURE
        }
    }
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
        heartbeat: heartbeat.clone(),
        board: LiveBoard::default(),
        requests: Arc::default(),
    };
    if let Some(listener) = daemon.config.listener.clone() {
        tokio::spawn(http::serve(listener, shared(&daemon), |_| ()));
    }
    tokio::spawn(health::serve(heartbeat));
    let end = tokio::select! {
        end = daemon.run(|name| node_name.set(name)) => end,
        () = stop_overdue(&stop, STOP_LIMIT) => {
            tracing::warn!("stopped without waiting for what is under way");
            if daemon.config.interval.is_some() || daemon.config.trigger_path.is_some() {
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
