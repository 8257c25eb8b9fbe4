//! The one integration-test binary.

mod command_line;
mod registry;
mod support;
