//! What this process uses, as Linux tells it.

use crate::daemon::board::metrics::Usage;

/// Clock ticks in a second, as Linux counts them for programs (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Memory and processor time of this process; 0 where it cannot be read.
pub(super) fn own() -> Usage {
    // `/proc` is no disk: these answers come at once.
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    usage(&read("/proc/self/status"), &read("/proc/self/stat"))
}

fn usage(status: &str, stat: &str) -> Usage {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = kilobytes.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    // The name of the program stands in parentheses and may have anything in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Usage { memory: kilobytes.unwrap_or_default() * 1_024.0, cpu: ticks.sum::<f64>() / TICKS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processor_time_are_read_of_what_linux_says() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 1000 10";
        let usage = usage("Name:\tgantry\nVmRSS:\t   15000 kB\n", stat);
        assert_eq!((usage.memory, usage.cpu), (15_360_000.0, 2.0));
        assert!(own().memory > 1_000_000.0);
    }
}
