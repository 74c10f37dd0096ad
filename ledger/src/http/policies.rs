//! Reward policies that jobs may name: all of them, and one by its id.

use axum::extract::{Path, State};
use orion_protocol::{Digest, cbor};

use super::{Answer, Refused, Shared, cbor_body};

/// Every policy, and which one is for jobs that name none.
pub(super) async fn all(State(shared): State<Shared>) -> Answer {
    let policies = shared.node()?.look(|chain| cbor::to_vec(&chain.policies())).await?;
    Ok(cbor_body(policies))
}

/// The policy with an id.
pub(super) async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Answer {
    let id: Digest = id.parse().map_err(|error| Refused::Bad(format!("policy id: {error}")))?;
    let policy = shared.node()?.look(|chain| chain.policy(&id).map(cbor::to_vec)).await?;
    Ok(cbor_body(policy.ok_or(Refused::NotFound("no policy was published under this id"))?))
}
