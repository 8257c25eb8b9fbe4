//! Gantry keeps Docker Swarm services on the newest image of their tag.

pub mod config;
pub mod hosts;
pub mod image;
pub mod registry;
pub mod secret;
pub mod swarm;
pub mod tls;
