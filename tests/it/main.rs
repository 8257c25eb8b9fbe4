//! The one integration-test binary.

mod command_line;
