//! Gantry keeps Docker Swarm services on the newest image of their tag.
