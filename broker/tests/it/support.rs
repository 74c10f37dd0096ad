//! A laid out server with two providers, and messages to send over it.

use orion_broker::testing::NatsServer;
use orion_broker::{Bounds, Broker};
use orion_protocol::messages::{Answer, AnswerBody, Task, TaskBody};
use orion_protocol::statements::{Failed, LeaseCore, LeaseKind, LeaseTail, Token};
use orion_protocol::{ChainId, Digest, Name, Reason, Refusal, SecretKey, Signed};

/// The server, laid out.
pub struct Laid {
    pub server: NatsServer,
    pub operator: Broker,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Small enough that no test notices, large enough for 5 MB objects.
pub fn bounds() -> Bounds {
    Bounds { out_bytes: 64 << 20, ..Bounds::default() }
}

pub async fn laid() -> Laid {
    let server = NatsServer::start(&["p1", "p2"]).await.unwrap();
    let operator = server.operator().await.unwrap();
    operator.ensure_platform(&bounds()).await.unwrap();
    for provider in ["p1", "p2"] {
        operator.ensure_provider(&name(provider), &bounds()).await.unwrap();
    }
    Laid { server, operator }
}

pub fn chain() -> ChainId {
    ChainId::of_genesis(b"test")
}

/// A lease for a worker, told from others by its shard.
pub fn task(worker: &Name, shard: u32) -> (Digest, Task) {
    let key = SecretKey::from_seed(&[1; 32]);
    let core = LeaseCore {
        kind: LeaseKind::Work,
        task: Digest::ZERO,
        shard,
        first_unit: 0,
        units: 1,
        token: Token { epoch: 1, attempt: 1, copy: 0 },
        provider: key.public(),
        worker: worker.clone(),
        audit: None,
    };
    let lease = Signed::new(&chain(), &key, &core);
    let digest = lease.digest(&chain());
    let tail = Signed::new(&chain(), &key, &LeaseTail { lease: digest, deadline_ms: 0, salt: None });
    (digest, Task { lease, tail, job_uid: name("job"), body: TaskBody::Execute, opened: None })
}

/// An answer to a lease; its text tells it from others.
pub fn answer(task: &Task, text: &str) -> Answer {
    let key = SecretKey::from_seed(&[2; 32]);
    let refusal = Refusal::new(Reason::KernelFault, text);
    let failed = Failed { lease: task.lease.digest(&chain()), refusal };
    Answer { lease: task.lease.clone(), body: AnswerBody::Failed(Signed::new(&chain(), &key, &failed)) }
}
