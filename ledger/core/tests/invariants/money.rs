//! I4 and I5: where an escrow's money goes.

use orion_protocol::ids::Account;
use orion_protocol::ledger::api::Paid;

use crate::{STEPS, histories};

#[test]
fn i04_i05_an_escrow_is_paid_out_refunded_or_still_there_and_a_closed_one_is_empty() {
    histories(|mut history| {
        for _ in 0..STEPS {
            history.step();
            history.check();
            let world = &history.world;
            for (id, job) in world.chain.jobs() {
                let left = world.balance(&Account::Escrow(*id));
                let Paid { workers, validators, fee, refunded } = job.paid;
                assert_eq!(job.escrowed, workers + validators + fee + refunded + left);
                assert!(job.is_open() || left == 0, "an escrow that ended is empty");
            }
        }
        history.end();
    });
}
