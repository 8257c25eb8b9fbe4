//! Where the events of a run go.

use std::fmt;
use std::sync::Arc;

use crate::model::event::{Event, Help};

/// Where the events of a run go. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(&Event) + Send + Sync>);

impl Events {
    /// Events go to `listener`, which must not block.
    pub fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Nothing listens.
    pub fn unheard() -> Self {
        Self::new(|_| ())
    }

    /// Something happened.
    pub(crate) fn emit(&self, event: &Event) {
        (self.0)(event);
    }

    /// Gantry did something for the update of this service.
    pub(crate) fn helped(&self, service: &str, how: Help) {
        self.emit(&Event::UpdateHelped { service: service.to_owned(), how });
    }

    /// A user should know this.
    pub(crate) fn notice(&self, services: &[&str], image: &str, words: impl fmt::Display) {
        let services = services.iter().map(|&service| service.to_owned()).collect();
        self.emit(&Event::Notice { services, image: image.to_owned(), words: words.to_string() });
    }

    /// What gates make of a digest is news.
    pub(crate) fn gate_news(&self, image: &str, words: impl fmt::Display) {
        self.emit(&Event::GateNews { image: image.to_owned(), words: words.to_string() });
    }

    /// A request failed; `service` may be empty.
    pub(crate) fn trouble(&self, what: impl fmt::Display, service: &str, error: &dyn fmt::Display) {
        self.emit(&Event::Trouble {
            what: what.to_string(),
            service: service.to_owned(),
            error: error.to_string(),
        });
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
