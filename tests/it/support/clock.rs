//! Minutes in seconds, where real sockets are at work.
//!
//! tokio's paused clock jumps to the next timer as soon as nothing else is to be done. A real socket whose other
//! end has not got to it yet looks like that, so every time limit would pass at once. Here the clock goes on by
//! itself, only faster.

use std::future::Future;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{advance, pause};

/// From one tick to the next, as everybody else counts: enough for an answer of a server in this process.
const TICK: Duration = Duration::from_millis(1);

/// How far tokio's clock goes with each tick.
const STEP: Duration = Duration::from_millis(50);

/// Does the work while tokio's clock goes fifty times as fast, or less where the processor is busy.
///
/// The runtime must be `current_thread`.
pub(crate) async fn hurried<T>(work: impl Future<Output = T>) -> T {
    pause();
    let clock = async {
        loop {
            // As long as a blocking task is under way, tokio does not jump.
            let _ = spawn_blocking(|| std::thread::sleep(TICK)).await;
            advance(STEP).await;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = clock => unreachable!("it goes on for ever"),
    }
}
