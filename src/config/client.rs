//! The variables of the command line alone. Pure.

/// The variables that tell commands such as `gantry status` which daemon to ask. The daemon does not read them.
pub const CLIENT_VARIABLES: [&str; 3] = [URL, TOKEN, TOKEN_FILE];

/// The address of page and API of a daemon, where the command does not run in its container.
pub const URL: &str = "GANTRY_URL";

/// The token for that address.
pub const TOKEN: &str = "GANTRY_TOKEN";

/// A file with that token.
pub const TOKEN_FILE: &str = "GANTRY_TOKEN_FILE";
