//! `GET /v1/history/account/{id}` and `/v1/history/job/{id}`: what happened to an account or a job, a page at a time.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use orion_protocol::ledger::api::MAX_HISTORY_ROWS;

use super::{Answer, Refused, Shared, cbor_body};
use crate::history::Subject;

/// `?from=N&limit=N`, both optional.
type Asked = Query<BTreeMap<String, String>>;

/// The route of accounts.
pub(super) async fn account(State(shared): State<Shared>, Path(account): Path<String>, asked: Asked) -> Answer {
    let account = account.parse().map_err(|error| Refused::Bad(format!("account id: {error}")))?;
    page(&shared, Subject::Account(account), &asked).await
}

/// The route of jobs.
pub(super) async fn job(State(shared): State<Shared>, Path(job): Path<String>, asked: Asked) -> Answer {
    let job = job.parse().map_err(|error| Refused::Bad(format!("job id: {error}")))?;
    page(&shared, Subject::Job(job), &asked).await
}

async fn page(shared: &Shared, subject: Subject, Query(asked): &Asked) -> Answer {
    let (mut from, mut limit) = (0, MAX_HISTORY_ROWS as u64);
    for (name, value) in asked {
        let number = value.parse::<u64>().map_err(|error| Refused::Bad(format!("{name}: {error}")))?;
        match name.as_str() {
            "from" => from = number,
            "limit" if (1..=MAX_HISTORY_ROWS as u64).contains(&number) => limit = number,
            "limit" => return Err(Refused::Bad(format!("limit: 1 to {MAX_HISTORY_ROWS} rows a page"))),
            _ => return Err(Refused::Bad("only from and limit are known".into())),
        }
    }
    let node = shared.node()?;
    let _turn = shared.views.take().await?;
    let limit = usize::try_from(limit).unwrap_or(MAX_HISTORY_ROWS);
    Ok(cbor_body(node.history(subject, from, limit).await?))
}
