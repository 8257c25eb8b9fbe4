//! What can be asked of the swarm's control plane, with its answers.

use gantry::swarm::{Listing, Service, Spec, SwarmError, TaskState, UpdateState};
use serde_json::Value;

use super::plan::Plan;
use super::script::Asked;
use super::world::{Due, FakeService, FakeTask, Status, World};

/// Which spec a service is to have.
#[derive(Clone, Debug)]
pub enum Goal {
    To(Spec),
    Back(Spec),
}

impl World {
    /// Services that pass filters, or have one of these ids.
    pub fn list(&self, listing: &Listing<'_>) -> Result<Vec<&FakeService>, SwarmError> {
        match listing {
            Listing::Ids(ids) => {
                let is_named = |service: &&FakeService| ids.iter().any(|id| service.id.starts_with(id));
                Ok(self.services.values().filter(is_named).collect())
            }
            Listing::Filters(filters) => {
                let filters: Vec<(&str, &str)> =
                    filters.iter().map(|filter| (filter.key.as_str(), filter.value.as_str())).collect();
                self.filtered(&filters)
            }
        }
    }

    /// Services that pass filters of `docker service ls`: any of several ids, names or modes, all of
    /// several labels.
    pub fn filtered(&self, filters: &[(&str, &str)]) -> Result<Vec<&FakeService>, SwarmError> {
        const KNOWN: [&str; 5] = ["id", "label", "mode", "name", "runtime"];
        if let Some((key, _)) = filters.iter().find(|(key, _)| !KNOWN.contains(key)) {
            return Err(SwarmError::Refused(format!("invalid filter '{key}'")));
        }
        let of = |key: &'static str| filters.iter().filter(move |f| f.0 == key).map(|f| f.1);
        let any =
            |key: &'static str, fits: &dyn Fn(&str) -> bool| of(key).next().is_none() || of(key).any(fits);
        Ok(self
            .services
            .values()
            .filter(|service| {
                let labels = &service.plan.spec.facts().labels;
                any("id", &|id| service.id.starts_with(id))
                    && any("name", &|name| service.plan.name().starts_with(name))
                    && any("mode", &|mode| service.plan.mode() == mode)
                    && of("label").all(|label| match label.split_once('=') {
                        Some((name, value)) => labels.get(name).is_some_and(|present| present == value),
                        None => labels.contains_key(label),
                    })
            })
            .collect())
    }

    /// Tasks of services, which must all exist.
    pub fn list_tasks(&self, services: &[String]) -> Result<Vec<&FakeTask>, SwarmError> {
        if services.is_empty() {
            let of_removed = self.tasks.values().filter(|task| !self.services.contains_key(&task.service));
            let mut of_removed: Vec<&FakeTask> = of_removed.collect();
            of_removed.sort_by(|a, b| a.id.cmp(&b.id));
            return Ok(self.services.keys().flat_map(|id| self.tasks_of(id)).chain(of_removed).collect());
        }
        let mut tasks = Vec::new();
        for service in services {
            let found = self.find(service).ok_or_else(|| not_found(service))?;
            tasks.extend(self.tasks_of(&found.id));
        }
        Ok(tasks)
    }

    pub fn create(&mut self, spec: &Spec, auth: Option<String>) -> Result<String, SwarmError> {
        check(spec)?;
        let name = &spec.facts().name;
        if self.names.contains_key(name) {
            let text = format!(
                "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service {name} already exists"
            );
            return Err(SwarmError::NameTaken(text));
        }
        let id = self.add_service(spec, auth);
        self.wake_orchestrator(&id);
        Ok(id)
    }

    pub fn remove(&mut self, name: &str) -> Result<(), SwarmError> {
        let id = self.find(name).ok_or_else(|| not_found(name))?.id.clone();
        let service = self.services.remove(&id).expect("it was found");
        self.names.remove(service.plan.name());
        self.write();
        // They are there until they have ended.
        for task in &service.tasks {
            self.shut_down(task, TaskState::Remove);
        }
        self.after(self.timing.reap, Due::Reap { service: id.clone() });
        let name = serde_json::json!({"name": service.plan.name()});
        self.event("service", "remove", &id, name);
        self.retry_pending();
        Ok(())
    }

    /// `POST /services/{id}/update`.
    pub fn update(
        &mut self,
        name: &str,
        version: u64,
        goal: &Goal,
        auth: Option<String>,
    ) -> Result<Vec<String>, SwarmError> {
        let asked = Asked {
            at: self.now,
            service: self
                .find(name)
                .map_or_else(|| name.to_owned(), |service| service.plan.name().to_owned()),
            version,
            is_rollback: matches!(goal, Goal::Back(_)),
            spec: match goal {
                Goal::To(spec) | Goal::Back(spec) => spec.clone(),
            },
            auth: auth.clone(),
            answer: Ok(()),
        };
        let answer = self.try_update(name, version, goal, auth);
        let answered = answer.clone();
        self.script.asked.push(Asked { answer: answered, ..asked });
        answer.map(|()| Vec::new())
    }

    fn try_update(
        &mut self,
        name: &str,
        version: u64,
        goal: &Goal,
        account: Option<String>,
    ) -> Result<(), SwarmError> {
        let (Goal::To(spec) | Goal::Back(spec)) = goal;
        let service = self.find(name).ok_or_else(|| not_found(name))?;
        check(spec)?;
        if spec.facts().name != service.plan.name() {
            return Err(unimplemented("renaming services is not supported"));
        }
        let kept = || service.plan.account().map(str::to_owned);
        let plan = Plan::of(spec, account.or_else(kept));
        if plan.mode() != service.plan.mode() {
            return Err(unimplemented("service mode change is not allowed"));
        }
        let (id, now) = (service.id.clone(), self.now);
        let is_current = service.version == version;
        let before = service.before();
        match goal {
            Goal::Back(_) if service.previous.is_none() => {
                return Err(SwarmError::Refused(format!(
                    "rpc error: code = FailedPrecondition desc = service {id} does not have a previous spec"
                )));
            }
            _ if !is_current => return Err(SwarmError::Conflict),
            Goal::To(_) => {
                let service = self.service_mut(&id);
                service.previous = Some(std::mem::replace(&mut service.plan, plan));
                service.status = None;
            }
            // The previous account comes back as well: what is sent along counts for nothing.
            Goal::Back(_) => {
                let service = self.service_mut(&id);
                let previous = service.previous.take().unwrap_or_else(|| plan.clone());
                service.previous = Some(std::mem::replace(&mut service.plan, previous));
                service.status = Some(Status {
                    state: UpdateState::RollbackStarted,
                    message: "manually requested rollback".to_owned(),
                    started: now,
                    completed: None,
                });
            }
        }
        let service = self.service_mut(&id);
        service.attempts.clear();
        if service.plan.shape.is_job() {
            service.iteration += 1;
        }
        self.service_changed(&id, &before);
        Ok(())
    }

    /// Somebody else changes a service: no matter which version it has.
    pub fn change(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let service = self.find(name).unwrap_or_else(|| panic!("there is a service {name}"));
        let (mut value, version) = (service.plan.value.clone(), service.version);
        edit(&mut value);
        let spec = Spec::from_json(&value.to_string()).expect("a specification");
        self.try_update(name, version, &Goal::To(spec), None).expect("a change that the engine accepts");
    }

    pub fn set_label(&mut self, name: &str, label: &str, value: &str) {
        self.change(name, |spec| spec["Labels"][label] = value.into());
    }

    pub fn set_image(&mut self, name: &str, image: &str) {
        self.change(name, |spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into());
    }

    pub fn scale(&mut self, name: &str, replicas: u64) {
        self.change(name, |spec| spec["Mode"]["Replicated"]["Replicas"] = replicas.into());
    }

    pub fn roll_back(&mut self, name: &str) {
        self.try_roll_back(name).expect("there is a previous specification");
    }

    /// Rolls a service back as a person would; the engine refuses where there is nothing to go back to.
    pub fn try_roll_back(&mut self, name: &str) -> Result<(), SwarmError> {
        let service = self.find(name).unwrap_or_else(|| panic!("there is a service {name}"));
        let (spec, version) = (service.plan.spec.clone(), service.version);
        self.try_update(name, version, &Goal::Back(spec), None).map(drop)
    }

    /// A service as the engine shows it.
    pub fn look(&self, name: &str) -> Option<Service> {
        self.services.get(name).map(|service| self.show(service, false))
    }
}

pub fn not_found(name: &str) -> SwarmError {
    SwarmError::NotFound(format!("service {name} not found"))
}

fn unimplemented(text: &str) -> SwarmError {
    SwarmError::Refused(format!("rpc error: code = Unimplemented desc = {text}"))
}

/// What the engine demands of any specification.
fn check(spec: &Spec) -> Result<(), SwarmError> {
    let facts = spec.facts();
    let fault = if facts.name.is_empty() {
        Some("name must be provided")
    } else if facts.image.as_deref().is_none_or(str::is_empty) {
        Some("ContainerSpec: image reference must be provided")
    } else {
        None
    };
    fault.map_or(Ok(()), |text| {
        Err(SwarmError::Refused(format!("rpc error: code = InvalidArgument desc = {text}")))
    })
}
