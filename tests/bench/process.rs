//! What a process costs, as the kernel counts it.

use std::fs;
use std::process::Child;

/// The kernel counts CPU time in hundredths of a second on every Linux that Docker supports (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time so far, of user and kernel.
pub(crate) fn cpu_seconds(process: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    // The name may hold spaces; the fields after it do not. utime and stime are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / TICKS_PER_SECOND
}

/// The most memory that it has had so far, in kibibytes.
pub(crate) fn peak_kib(process: &Child) -> u64 {
    status_kib(process, "VmHWM:")
}

/// The memory that it has now, in kibibytes.
pub(crate) fn resident_kib(process: &Child) -> u64 {
    status_kib(process, "VmRSS:")
}

fn status_kib(process: &Child, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many file descriptors it has open.
pub(crate) fn descriptors(process: &Child) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count()
}
