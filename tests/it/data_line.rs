//! The data line as clients and nodes meet it: real workers on a free port, a pool that the test
//! publishes, and raw connections on both sides whose bytes are compared exactly.

mod access;
mod balancer;
mod balancing;
mod bulk;
mod ending;
mod forwarding;
mod framing;
mod interim;
mod large;
mod limits;
mod logins;
mod owed;
mod pipelining;
mod refusals;
mod retries;
mod rotation;
mod routes;
mod streams;
mod trusted;
mod tunnels;
mod waiting;
mod wire;

pub(crate) use balancer::TestBalancer;
pub(crate) use wire::PATIENCE;
