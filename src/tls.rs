//! The one cryptography provider of this process.

/// Makes `ring` the provider of every TLS connection, engine and registries alike. `main` calls it before
/// anything else; calling it again does nothing.
///
/// Two libraries in this process speak TLS, and rustls panics when it has to guess between providers.
pub fn install_crypto_provider() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
