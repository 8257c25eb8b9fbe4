use std::sync::{Arc, Mutex};

use super::*;
use crate::config::Config;
use crate::telemetry::{Output, subscriber};

#[tokio::test(start_paused = true)]
async fn what_a_full_ledger_forgets_is_told_once_a_minute() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    let write = Box::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
    let settings = Config::load([]).unwrap().config.log;
    let (subscriber, _) = subscriber(&settings, Output { write, now: jiff::Timestamp::now });
    let _guard = tracing::subscriber::set_default(subscriber);
    let ledger = Ledger::new("gantry");
    for second in 0..90 {
        ledger.tell_forgotten(vec![format!("entry-{second}")]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].ends_with("forgotten=entry-0\n"), "{log:?}");
    assert!(log[1].contains("entry-1 entry-2 ") && log[1].contains("entry-20 and 40 more\""), "{log:?}");
}
