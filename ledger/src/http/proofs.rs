//! `GET /v1/proofs/{leaf}`: a leaf, and the proof that it is in the log at the newest published checkpoint, with the cosignatures
//! that this has by now. It reads one leaf, and a few tiles for each level of tiles.

use std::error::Error;

use axum::extract::{Path, State};
use orion_ledger_core::log::note::{Note, NoteError};
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::prove::{TileError, inclusion};
use orion_protocol::cbor;
use orion_protocol::ledger::api::LeafProof;

use super::{Answer, Refused, Shared, cbor_body};
use crate::publisher::Published;
use crate::store::{Store, StoreError};
use crate::tiles::{Tiles, TilesError};

const UNCOVERED: &str = "no published checkpoint covers the leaf yet";
const ABSENT: &str = "the log has no such leaf";

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
enum ProofError {
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
    #[error("cannot make the path to the leaf from the tiles")]
    Path(#[from] TileError<TilesError>),
    #[error("cannot read the published checkpoint")]
    Note(#[from] NoteError),
}

/// The leaf with this index.
pub(super) async fn one(State(shared): State<Shared>, Path(leaf): Path<String>) -> Answer {
    let index = leaf.parse::<u64>().ok().filter(|index| index.to_string() == leaf);
    let index = index.ok_or_else(|| Refused::Bad("leaf: expected its index in the log, from 0".into()))?;
    let node = shared.node()?;
    let newest = node.board().newest().borrow().clone();
    let Some(newest) = newest.filter(|newest| index < newest.size) else {
        let size = node.look(|chain| chain.seal_ref().size).await?;
        let there = index < size;
        return Err(if there { Refused::Unavailable(UNCOVERED) } else { Refused::NotFound(ABSENT) });
    };
    let _turn = shared.files.take().await?;
    let (store, tiles) = (node.store().clone(), node.tiles().clone());
    let made = tokio::task::spawn_blocking(move || prove(&store, &tiles, index, &newest)).await;
    match made {
        Ok(Ok(proof)) => Ok(cbor_body(cbor::to_vec(&proof))),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn Error, leaf = index, "a proof was not made");
            Err(Refused::Failed)
        }
        Err(_) => Err(Refused::Failed),
    }
}

fn prove(store: &Store, tiles: &Tiles, index: u64, newest: &Published) -> Result<LeafProof, ProofError> {
    let leaf = store.snapshot()?.leaf(index)?;
    let path = inclusion(newest.size, index, tiles)?;
    let note = Note::parse(newest.note.as_bytes())?;
    let proof = ProofFile { extra: None, index, path, note }.to_string();
    Ok(LeafProof { leaf: leaf.into(), proof })
}
