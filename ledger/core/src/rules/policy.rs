//! PublishPolicy and Params: which policies jobs may name, and which one holds for those that name none. A job keeps the policy
//! that it named: policies are never taken back.

use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{Params, Policy, PublishPolicy};

use crate::state::State;

pub(super) fn publish(state: &mut State, tx: &PublishPolicy) -> Result<Vec<Transfer>, Code> {
    let PublishPolicy { policy } = tx;
    let policy = Policy::from_bytes(policy).map_err(|_| Code::PolicyBytes)?;
    if let Some(found) = policy.out_of_bounds().first() {
        return Err(found.code);
    }
    let id = policy.digest();
    if !state.policies.contains_key(&id) && state.policies.len() >= PublishPolicy::MAX_POLICIES {
        return Err(Code::PolicyBytes);
    }
    state.policies.insert(id, policy);
    Ok(Vec::new())
}

pub(super) fn set_params(state: &mut State, tx: &Params) -> Result<Vec<Transfer>, Code> {
    let Params { policy } = tx;
    if !state.policies.contains_key(policy) {
        return Err(Code::UnknownPolicy);
    }
    state.default_policy = *policy;
    Ok(Vec::new())
}
