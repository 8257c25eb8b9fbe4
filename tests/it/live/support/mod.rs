//! What the live tests stand on: the lab, a stage for each test, and the program under test.

mod apprise;
mod gantry;
mod http;
mod http_server;
mod lab;
mod ledger;
mod mail;
mod private;
mod pull_engine;
mod registry;
mod service;
mod socket_proxy;
mod stage;
mod tokens;

pub(crate) use apprise::Apprise;
pub(crate) use gantry::{Daemon, Gantry, Line, Run};
pub(crate) use http::{Answer, Request};
pub(crate) use http_server::{HttpServer, free_port};
pub(crate) use lab::{Lab, wait};
pub(crate) use ledger::Said;
pub(crate) use mail::RealMail;
pub(crate) use private::{Account, JUERGEN, PULLER, PrivateRegistry};
pub(crate) use pull_engine::PullEngine;
pub(crate) use registry::{Registry, sha256};
pub(crate) use service::{Service, listed};
pub(crate) use socket_proxy::SocketProxy;
pub(crate) use stage::{Image, LABEL, Stage};
pub(crate) use tokens::{Served, TokenServer};
