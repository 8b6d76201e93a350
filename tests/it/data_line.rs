//! The data line as clients and nodes meet it: real workers on a free port, a pool published by
//! hand, and raw connections on both sides that are held to exact bytes.

mod ending;
mod framing;
mod front;
mod interim;
mod limits;
mod refusals;
mod retries;
mod rotation;
mod waiting;
mod wire;
