//! The configs of the swarm: named objects of which only the labels change.

use std::collections::BTreeMap;

use gantry::swarm::{ConfigObject, SwarmError};
use jiff::Timestamp;

use super::world::World;

impl World {
    /// `POST /configs/create`.
    pub fn create_config(
        &mut self,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &str,
    ) -> Result<String, SwarmError> {
        // Two names are the same to the swarm that differ in capital letters only. Whoever looks for one finds that one
        // alone.
        if self.configs.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            let text = format!("rpc error: code = AlreadyExists desc = config {name} already exists");
            return Err(SwarmError::NameTaken(text));
        }
        let id = self.new_id('c');
        let object = ConfigObject {
            id: id.clone(),
            name: name.to_owned(),
            version: self.write(),
            labels: labels.clone(),
            data: data.to_owned(),
        };
        self.configs.insert(name.to_owned(), object);
        Ok(id)
    }

    /// `POST /configs/{id}/update`.
    pub fn update_config(
        &mut self,
        id: &str,
        version: u64,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), SwarmError> {
        let index = self.index + 1;
        let object = self.configs.values_mut().find(|object| object.id == id).ok_or_else(|| no_config(id))?;
        if object.version != version {
            return Err(SwarmError::Conflict);
        }
        object.labels.clone_from(labels);
        object.version = index;
        self.index = index;
        Ok(())
    }

    /// `DELETE /configs/{id}`.
    pub fn remove_config(&mut self, id: &str) -> Result<(), SwarmError> {
        let name = self.configs.values().find(|object| object.id == id).map(|object| object.name.clone());
        let name = name.ok_or_else(|| no_config(id))?;
        self.configs.remove(&name);
        Ok(())
    }

    /// The time of day by the engine's clock.
    pub fn engine_time(&self) -> Timestamp {
        self.time(self.now).checked_add(self.clock_step).expect("a near time")
    }
}

fn no_config(id: &str) -> SwarmError {
    SwarmError::NotFound(format!("config {id} not found"))
}
