//! The ledger's service: one engine that orders transactions into blocks, commits each block durably before anybody hears
//! of it, and a small HTTP surface over it. What a transaction means is decided in `orion-ledger-core`, nowhere here.
//!
//! | part | what |
//! | --- | --- |
//! | [`clock`] | the one place that reads the wall clock |
//! | [`store`] | leaves on disk; one durable transaction a block |
//! | `records` | which leaf holds what came of a transaction |
//! | `history` | which leaves tell of an account or a job |
//! | `snapshots` | the chain as files, to start from |
//! | [`node`] | starts from the store by replay, and hands out the queue and the views |
//! | `start` | what of that is replayed, and what it is compared with |
//! | [`engine`] | what orders transactions, and the seam to it; the queue becomes blocks |
//! | [`app`] | the ledger behind that seam: blocks become durable |
//! | [`fetch`] | a log over HTTP, bounded |
//! | [`import`] | brings a log into a store |
//! | [`backup`] | writes a stopped ledger's log to a file |
//! | [`audit`] | checks all that is on the disk |
//! | [`mark`] | what was signed last, kept outside of the volume |
//! | [`publisher`] | signs and publishes checkpoints |
//! | [`tiles`] | the log as files for any client |
//! | [`http`] | the routes |
//! | [`auth`] | who may ask for what |
//! | [`serve`] | connections, bounded and with timeouts |
//! | [`ready`] | waits for a ledger from outside |
//! | `stall` | writes that wait too long fail |
//! | [`witnesses`] | who has seen the log |
//! | [`metrics`] | what Prometheus sees |
//! | [`witness`] | follows a log, replays it, cosigns |

#![forbid(unsafe_code)]

pub mod app;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod clock;
pub mod engine;
pub mod fetch;
mod history;
pub mod http;
pub mod import;
pub mod mark;
pub mod metrics;
pub mod node;
pub mod publisher;
pub mod ready;
mod records;
pub mod serve;
mod snapshots;
mod stall;
mod start;
pub mod store;
pub mod tiles;
pub mod witness;
pub mod witnesses;
