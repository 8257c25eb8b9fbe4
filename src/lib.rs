//! Gantry keeps Docker Swarm services on the newest image of their tag.

pub mod config;
pub mod cycle;
pub mod daemon;
pub mod heartbeat;
pub mod hosts;
pub mod image;
pub mod registry;
pub mod secret;
pub mod swarm;
pub mod telemetry;
pub mod tls;
