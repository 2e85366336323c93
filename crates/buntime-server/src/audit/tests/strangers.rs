//! Refusals of callers without a key are counted.

use super::*;

#[tokio::test]
async fn k8_refusals_of_strangers_are_counted_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    for n in 0..50_u16 {
        audit.refuse_stranger(&stranger([192, 0, 2, 1]), "AUTH_REQUIRED");
        audit.refuse_stranger(&stranger([0x2001, 0xdb8, 0, 1, n, 2, 3, 4]), "INVALID_KEY");
    }
    audit.refuse_stranger(&stranger([192, 0, 2, 1]), "INVALID_KEY");
    audit.flush().await.unwrap();
    let mut lines = lines(&dir);
    lines.sort_by_key(|line| line["address"].to_string());
    let [v4, v6] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(v4["address"], "192.0.2.1");
    assert_eq!(
        v4["counts"],
        serde_json::json!({"AUTH_REQUIRED": 50, "INVALID_KEY": 1})
    );
    assert_eq!(v6["address"], "2001:db8:0:1::/64");
    assert_eq!(v6["counts"], serde_json::json!({"INVALID_KEY": 50}));
    assert_eq!(
        (&v4["key"], &v4["namespaces"]),
        (&Value::Null, &serde_json::json!(["*"]))
    );
}

#[tokio::test]
async fn many_strangers_share_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    for n in 0..20_000_u32 {
        audit.refuse_stranger(&stranger(n.to_be_bytes()), "AUTH_REQUIRED");
    }
    audit.flush().await.unwrap();
    let lines = lines(&dir);
    assert_eq!(lines.len(), 257);
    let counted = lines
        .iter()
        .map(|line| line["counts"]["AUTH_REQUIRED"].as_u64().unwrap());
    assert_eq!(counted.sum::<u64>(), 20_000);
}
