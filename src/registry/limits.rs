//! The limits of time and memory for look-ups.

use std::time::Duration;

/// Bounds on one look-up. The defaults suit every registry; tests use shorter ones.
#[derive(Clone, Debug)]
pub struct LookupLimits {
    /// For a connection with its TLS handshake. A registry that is there answers within a second even
    /// across the world; a black hole must not hold a worker.
    pub connect: Duration,
    /// For one request with its whole body. Manifests are small, but Docker Hub has been seen to take ten
    /// seconds for a `HEAD` under load.
    pub request: Duration,
    /// For a whole look-up, with the waits between attempts.
    pub total: Duration,
    /// For the number of pulls that Docker Hub still allows. A cycle waits for it.
    pub hub_rate: Duration,
    /// How often a request is tried at most.
    pub attempts: u32,
    /// The first wait between attempts; it doubles.
    pub backoff: Duration,
    /// The longest `Retry-After` that a look-up waits for. Otherwise the next cycle asks again.
    pub retry_after_cap: Duration,
    /// The longest answer that is read, in bytes. Engines refuse larger manifests too.
    pub body: usize,
    /// How many redirects are followed: as many as the engine follows. Blob stores need one or two.
    pub redirects: usize,
    /// After how many look-ups in a row without any answer a registry counts as away.
    pub outage_failures: u32,
    /// How long a registry that is away, or that limits our rate, is not asked at all: long enough for
    /// the other look-ups of a cycle to end at once, shorter than the wait for the next one.
    pub outage_hold: Duration,
    /// The longest time that a registry is not asked because its `Retry-After` said so.
    pub outage_hold_cap: Duration,
    /// How many manifests are remembered.
    pub manifests: usize,
    /// How many bytes the remembered manifests take together.
    pub manifest_bytes: usize,
}

impl Default for LookupLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(20),
            total: Duration::from_secs(180),
            hub_rate: Duration::from_secs(10),
            attempts: 3,
            backoff: Duration::from_millis(500),
            retry_after_cap: Duration::from_secs(60),
            body: 4 * 1024 * 1024,
            redirects: 10,
            outage_failures: 3,
            outage_hold: Duration::from_secs(15),
            outage_hold_cap: Duration::from_secs(15 * 60),
            manifests: 4096,
            manifest_bytes: 8 << 20,
        }
    }
}
