//! One test for each thing that an identity must not be able to do. Every attempt is made with a bare client, past this
//! crate's own functions, and must be denied by the server itself.

use std::time::Duration;

use async_nats::Message;
use base64::Engine as _;
use futures::StreamExt;
use orion_broker::{Broker, Error, ObjectError};
use orion_protocol::messages::{Beat, Message as _};
use orion_protocol::{Digest, Name};
use serde_json::json;

use crate::support::{Laid, answer, laid, name, task};

const WAIT: Duration = Duration::from_millis(300);

/// Whether a bare request got any answer.
async fn answered(broker: &Broker, subject: &str, payload: &str) -> Option<Message> {
    let request = async_nats::Request::new().payload(payload.to_owned().into()).timeout(Some(WAIT));
    broker.client().send_request(subject.to_owned(), request).await.ok()
}

/// Fails when any of these requests is answered.
async fn all_denied(broker: &Broker, subjects: &[&str], payload: &str) {
    for subject in subjects {
        let answer = answered(broker, subject, payload).await;
        assert!(answer.is_none(), "{subject} was answered: {answer:?}");
    }
}

/// Whether anything at all reaches a subscription while `send` runs and shortly after.
async fn overheard(broker: &Broker, subject: &str, send: impl AsyncFnOnce()) -> bool {
    let mut listening = broker.client().subscribe(subject.to_owned()).await.unwrap();
    broker.client().flush().await.unwrap();
    send().await;
    tokio::time::timeout(WAIT, listening.next()).await.is_ok_and(|message| message.is_some())
}

async fn provider(laid: &Laid) -> Broker {
    laid.server.provider("p1").await.unwrap()
}

/// Messages in a stream.
async fn count(laid: &Laid, stream: &str) -> u64 {
    laid.operator.stream_facts(stream).await.unwrap().unwrap().messages
}

async fn send_lease(laid: &Laid, to: &str, worker: &Name) {
    laid.operator.ensure_consumer(&name(to), worker).await.unwrap();
    let (digest, sent) = task(worker, 0);
    laid.operator.publish_task(&name(to), worker, &digest, &sent).await.unwrap();
}

#[tokio::test]
async fn a_denial_is_told_from_silence() {
    let laid = laid().await;
    let client = provider(&laid).await;
    let read = client.exists("out_p2", &Digest::ZERO).await;
    let denied =
        |read: &Result<_, ObjectError>| matches!(read, Err(ObjectError::Broker { source: Error::Denied { .. }, .. }));
    assert!(denied(&read), "{read:?}");
    let mut upload = client.upload("held").await.unwrap();
    upload.write(b"x").await.unwrap();
    let written = upload.finish().await.map(|_| None);
    assert!(denied(&written), "{written:?}");
}

#[tokio::test]
async fn a_provider_cannot_pull_anothers_leases() {
    let laid = laid().await;
    let worker = name("w1");
    send_lease(&laid, "p2", &worker).await;
    let client = provider(&laid).await;
    all_denied(&client, &["$JS.API.CONSUMER.MSG.NEXT.WORK_p2.w1"], r#"{"batch":1,"no_wait":true}"#).await;
    assert!(client.next_task(&name("p2"), &worker, WAIT).await.is_err());
}

#[tokio::test]
async fn a_provider_cannot_overhear_or_read_leases() {
    let laid = laid().await;
    let client = provider(&laid).await;
    for subject in ["work.p2.*", "work.>", ">", "$JS.ACK.>"] {
        let heard = overheard(&client, subject, async || send_lease(&laid, "p2", &name("w1")).await).await;
        assert!(!heard, "{subject}");
    }
    let reads = ["$JS.API.STREAM.MSG.GET.WORK_p2", "$JS.API.STREAM.MSG.GET.WORK_p1", "$JS.API.DIRECT.GET.WORK_p2"];
    all_denied(&client, &reads, r#"{"seq":1}"#).await;
}

#[tokio::test]
async fn a_provider_cannot_send_leases() {
    let laid = laid().await;
    all_denied(&provider(&laid).await, &["work.p1.w1", "work.p2.w1", "work.platform.w1"], "x").await;
    for stream in ["WORK_p1", "WORK_p2", "WORK_platform"] {
        assert_eq!(count(&laid, stream).await, 0, "{stream}");
    }
}

#[tokio::test]
async fn a_provider_cannot_acknowledge_anothers_leases() {
    let laid = laid().await;
    send_lease(&laid, "p2", &name("w1")).await;
    let other = laid.server.provider("p2").await.unwrap();
    let delivery = other.next_task(&name("p2"), &name("w1"), Duration::from_secs(5)).await.unwrap().unwrap();
    let client = provider(&laid).await;
    all_denied(&client, &["$JS.ACK.WORK_p2.w1.1.1.1.1.0"], "+ACK").await;
    assert_eq!(count(&laid, "WORK_p2").await, 1);
    other.claim(&delivery).await.unwrap();
    assert_eq!(count(&laid, "WORK_p2").await, 0);
}

#[tokio::test]
async fn a_provider_cannot_read_outputs_of_others_or_what_is_held() {
    let laid = laid().await;
    let digest = laid.server.provider("p2").await.unwrap().put("out_p2", b"secret").await.unwrap();
    laid.server.platform().await.unwrap().put("held", b"secret").await.unwrap();
    let client = provider(&laid).await;
    let reads = [
        "$JS.API.DIRECT.GET.OBJ_out_p2",
        "$JS.API.DIRECT.GET.OBJ_held",
        "$JS.API.DIRECT.GET.OBJ_results",
        "$JS.API.STREAM.MSG.GET.OBJ_out_p2",
        "$JS.API.STREAM.MSG.GET.OBJ_held",
        "$JS.API.STREAM.INFO.OBJ_out_p2",
    ];
    all_denied(&client, &reads, r#"{"seq":1}"#).await;
    assert!(client.get("out_p2", &digest, 100).await.is_err());
    assert!(client.get("held", &digest, 100).await.is_err());
}

#[tokio::test]
async fn a_provider_cannot_read_votes_or_commitments_not_even_its_own_back() {
    let laid = laid().await;
    let other = laid.server.provider("p2").await.unwrap();
    let (lease, sent) = task(&name("w1"), 0);
    let publish = async || {
        let answer = answer(&sent, "vote");
        other.publish_answer(&name("p2"), &name("w1"), &name("job"), &lease, &answer).await.unwrap();
    };
    let client = provider(&laid).await;
    for subject in ["commit.p2.>", "commit.>", "commit.*.*.*.*"] {
        assert!(!overheard(&client, subject, &publish).await, "{subject}");
    }
    let reads = ["COMMIT_p1", "COMMIT_p2", "COMMIT_platform"]
        .map(|stream| ["STREAM.MSG.GET", "DIRECT.GET", "STREAM.INFO"].map(|what| format!("$JS.API.{what}.{stream}")));
    let reads: Vec<&str> = reads.iter().flatten().map(String::as_str).collect();
    all_denied(&client, &reads, r#"{"seq":1}"#).await;
}

#[tokio::test]
async fn a_provider_cannot_answer_or_live_under_anothers_name() {
    let laid = laid().await;
    let client = provider(&laid).await;
    all_denied(&client, &["commit.p2.w1.job.0123", "commit.platform.w1.job.0123"], "x").await;
    assert_eq!((count(&laid, "COMMIT_p2").await, count(&laid, "COMMIT_platform").await), (0, 0));
    for subject in ["hb.p2.w1", "hb.platform.w1"] {
        let send = async || client.client().publish(subject, "x".into()).await.unwrap();
        assert!(!overheard(&laid.operator, "hb.*.*", send).await, "{subject}");
    }
}

#[tokio::test]
async fn a_provider_cannot_write_into_any_bucket_but_its_own() {
    let laid = laid().await;
    let client = provider(&laid).await;
    for bucket in ["in", "held", "results", "out_p2"] {
        all_denied(&client, &[&format!("$O.{bucket}.M.x"), &format!("$O.{bucket}.C.x")], "x").await;
        assert_eq!(count(&laid, &format!("OBJ_{bucket}")).await, 0, "{bucket}");
    }
}

#[tokio::test]
async fn a_provider_cannot_create_consumers() {
    let laid = laid().await;
    let client = provider(&laid).await;
    let body =
        json!({ "stream_name": "OBJ_in", "config": { "deliver_subject": "commit.p2.w.j.l", "ack_policy": "none" } });
    let mut subjects = Vec::new();
    for stream in ["OBJ_in", "OBJ_out_p1", "WORK_p1", "COMMIT_p1"] {
        for what in ["CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE"] {
            subjects.push(format!("$JS.API.{what}.{stream}"));
            subjects.push(format!("$JS.API.{what}.{stream}.x"));
        }
        subjects.push(format!("$JS.API.CONSUMER.DELETE.{stream}.x"));
    }
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    all_denied(&client, &subjects, &body.to_string()).await;
}

#[tokio::test]
async fn a_provider_cannot_create_change_delete_or_purge_streams() {
    let laid = laid().await;
    let client = provider(&laid).await;
    client.put("out_p1", b"x").await.unwrap();
    let before = laid.operator.stream_facts("OBJ_out_p1").await.unwrap();
    let mut subjects =
        vec!["$JS.API.STREAM.CREATE.mine".to_owned(), "$JS.API.STREAM.LIST".into(), "$JS.API.STREAM.NAMES".into()];
    for stream in ["OBJ_in", "OBJ_out_p1", "OBJ_out_p2", "WORK_p1", "COMMIT_p1", "COMMIT_p2"] {
        for what in ["UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE"] {
            subjects.push(format!("$JS.API.STREAM.{what}.{stream}"));
        }
    }
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    all_denied(&client, &subjects, r#"{"name":"mine","subjects":["mine"],"seq":1}"#).await;
    assert_eq!(laid.operator.stream_facts("OBJ_out_p1").await.unwrap(), before);
    assert_eq!(laid.operator.stream_facts("mine").await.unwrap(), None);
}

#[tokio::test]
async fn nobody_can_overhear_anothers_replies() {
    let laid = laid().await;
    let digest = laid.operator.put("in", b"input").await.unwrap();
    let other = laid.server.provider("p2").await.unwrap();
    let client = provider(&laid).await;
    for subject in ["_INBOX_p2.>", "_INBOX_OPERATOR.>", "_INBOX_PLATFORM.>", "_INBOX.>", "*.>", "$SYS.>"] {
        let ask = async || assert_eq!(other.get("in", &digest, 100).await.unwrap(), b"input");
        assert!(!overheard(&client, subject, ask).await, "{subject}");
    }
}

#[tokio::test]
async fn the_platforms_worker_cannot_send_leases_judge_for_others_or_change_inputs() {
    let laid = laid().await;
    let platform = laid.server.platform().await.unwrap();
    let subjects = [
        "work.p1.w1",
        "work.platform.w1",
        "commit.p1.w1.job.0123",
        "$O.in.M.x",
        "$O.out_p1.M.x",
        "$JS.API.CONSUMER.CREATE.OBJ_in",
        "$JS.API.STREAM.DELETE.OBJ_held",
        "$JS.API.STREAM.PURGE.OBJ_held",
        "$JS.API.DIRECT.GET.COMMIT_p1",
    ];
    all_denied(&platform, &subjects, r#"{"seq":1}"#).await;
    let digest = laid.server.provider("p1").await.unwrap().put("out_p1", b"output").await.unwrap();
    assert_eq!(platform.get("out_p1", &digest, 100).await.unwrap(), b"output");
}

#[tokio::test]
async fn the_operator_cannot_answer_write_outputs_or_pretend_to_live() {
    let laid = laid().await;
    let subjects = ["commit.p1.w1.job.0123", "$O.out_p1.M.x", "$O.held.M.x", "$O.results.M.x", "hb.p1.w1"];
    all_denied(&laid.operator, &subjects, "x").await;
    assert_eq!(count(&laid, "COMMIT_p1").await, 0);
}

/// Has the broker send a message of p1's own choice to any subject: it answers requests wherever their reply subject
/// points, with its own rights. Static users of one account cannot prevent that; accounts a provider do.
async fn through_the_broker(client: &Broker, payload: &[u8], to: &str) {
    let context = async_nats::jetstream::new(client.client().clone());
    let stored = context.publish("$O.out_p1.M.x", payload.to_vec().into()).await.unwrap().await.unwrap();
    let ask = json!({ "seq": stored.sequence }).to_string();
    client.client().publish_with_reply("$JS.API.DIRECT.GET.OBJ_out_p1", to.to_owned(), ask.into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_that_the_broker_was_made_to_send_is_not_heard() {
    let laid = laid().await;
    let mut heard = laid.operator.heartbeats().await.unwrap();
    laid.operator.flush().await.unwrap();
    let beat = Beat::Progress(Digest::ZERO, 1);
    through_the_broker(&provider(&laid).await, &beat.to_bytes(), "hb.p2.w1").await;
    let honest = Beat::Progress(Digest::ZERO, 2);
    let other = laid.server.provider("p2").await.unwrap();
    other.publish_beat(&name("p2"), &name("w1"), &honest).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), heard.next()).await.unwrap().unwrap();
    assert_eq!(Beat::from_bytes(&heard.bytes).unwrap(), honest);
}

#[tokio::test]
async fn an_object_stays_readable_when_the_broker_was_made_to_store_another_description() {
    let laid = laid().await;
    let kept = laid.operator.put("in", b"kept").await.unwrap();
    let client = provider(&laid).await;
    let meta = format!("$O.in.M.{}", base64::engine::general_purpose::URL_SAFE.encode(kept.to_string()));
    let before = count(&laid, "OBJ_in").await;
    let lie = json!({ "name": kept.to_string(), "nuid": "none", "size": 4, "chunks": 1 }).to_string();
    for lie in [lie.as_bytes(), b"{"] {
        through_the_broker(&client, lie, &meta).await;
    }
    println!("messages in OBJ_in: {before}, then {}", count(&laid, "OBJ_in").await);
    assert_eq!(laid.operator.get("in", &kept, 100).await.unwrap(), b"kept");
}
